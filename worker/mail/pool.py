"""A pool of kept SMTP connections: the greeting, TLS and login are paid once, not for every mail.

The most recently used connection is taken first, so that the others grow old and are closed. A connection
is given up after a number of mails, an age, or an idle time: servers count, and drop the silent.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from worker.mail.transport import Connection, Server

_LONGEST_AGE = 300.0
_LONGEST_IDLE = 30.0


@dataclass(slots=True)
class _Kept:
    connection: Connection
    opened_at: float
    used_at: float


class Pool:
    """At most so many connections to one server.

    Args:
        connections: how many at a time.
        messages: mails per connection.
    """

    def __init__(self, server: Server, *, connections: int, messages: int) -> None:
        self._server = server
        self._messages = messages
        self._free = asyncio.Semaphore(connections)
        self._idle: list[_Kept] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for one mail; waits for a free one.

        Raises:
            Refused, Broken: a new connection could not be opened.
        """
        async with self._free:
            kept = self._take() or await self._open()
            try:
                yield kept.connection
            finally:
                await self._give_back(kept)

    async def close(self) -> None:
        """Take leave of every idle connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(kept.connection.quit() for kept in idle))

    def _take(self) -> _Kept | None:
        while self._idle:
            kept = self._idle.pop()
            if kept.connection.usable and time.monotonic() - kept.used_at < _LONGEST_IDLE:
                return kept
            kept.connection.close()
        return None

    async def _open(self) -> _Kept:
        connection = Connection(self._server)
        await connection.open()
        now = time.monotonic()
        return _Kept(connection, now, now)

    async def _give_back(self, kept: _Kept) -> None:
        kept.used_at = time.monotonic()
        worn = kept.connection.sent >= self._messages or kept.used_at - kept.opened_at > _LONGEST_AGE
        if not kept.connection.usable:
            return
        if worn:
            await kept.connection.quit()
        else:
            self._idle.append(kept)
