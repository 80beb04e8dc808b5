"""The wake-up: one blocking read over the lanes that have a free slot.

A full lane is left out of the read, so that its token goes to a worker that can use it. When a lane gets
a free slot while the read is on, the read is ended from another connection (CLIENT UNBLOCK) and begun
again with that lane in it. A watchdog ends a read that outlives its own time limit: after a reconnect the
server may never answer it (taskforcesh/bullmq 6.0.7 was released for that fault).
"""

import asyncio
from collections.abc import Callable

from redis.exceptions import RedisError

import background
from producers.link import Link
from worker.events import emit, event

_WAKE_INTERRUPTED = event("wake.interrupted")

_BLOCK_SECONDS = 5
_WATCHDOG_SECONDS = 2
_PAUSE_SECONDS = 0.2


class Wake:
    """Tells which lane may have work.

    Args:
        listener: a link that nobody else uses: whatever is sent behind a blocking read waits for its end.
        commands: the link on which to ask for that end.
        on_wake: called with the wake key that had a token.
    """

    def __init__(self, listener: Link, commands: Link, on_wake: Callable[[str], None]) -> None:
        self._listener = listener
        self._commands = commands
        self._on_wake = on_wake
        self._wanted: frozenset[str] = frozenset()
        self._reading: frozenset[str] = frozenset()
        self._client_id = 0
        self._numbered = 0
        """The connection that has this number on the server; 0 for none."""
        self._changed = asyncio.Event()
        self._unblocking: asyncio.Task[None] | None = None

    async def watch(self, keys: frozenset[str]) -> None:
        """Read these wake keys from now on. Waits for nothing: a server that is away must not hold the pump."""
        if keys == self._wanted:
            return
        self._wanted = keys
        self._changed.set()
        if self._reading and not keys <= self._reading and self._unblocking is None:
            self._unblocking = background.once("unblocking", self._unblock())

    async def run(self) -> None:
        """Read until cancelled; faults of Redis are waited out."""
        while True:
            try:
                await self._read_once()
            except (RedisError, OSError, TimeoutError) as error:
                emit(_WAKE_INTERRUPTED, error=type(error).__name__)
                self._listener.drop()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_once(self) -> None:
        if not self._wanted:
            self._changed.clear()
            await self._changed.wait()
        async with asyncio.timeout(_BLOCK_SECONDS + _WATCHDOG_SECONDS):
            if not self._numbered or self._listener.connection != self._numbered:
                self._client_id = int(await self._listener.call("CLIENT", "ID"))
                self._numbered = self._listener.connection
            popped = await self._read()
        if popped:
            self._on_wake(popped[0].decode())

    async def _read(self) -> list[bytes] | None:
        self._reading = self._wanted
        try:
            popped: list[bytes] | None = await self._listener.call("BLPOP", *sorted(self._reading), _BLOCK_SECONDS)
        finally:
            self._reading = frozenset()
        return popped

    async def _unblock(self) -> None:
        """End the read; if that fails, it ends by itself in five seconds."""
        try:
            async with asyncio.timeout(_WATCHDOG_SECONDS):
                await self._commands.call("CLIENT", "UNBLOCK", self._client_id)
        except (RedisError, OSError, TimeoutError) as error:
            emit(_WAKE_INTERRUPTED, error=type(error).__name__)
        finally:
            self._unblocking = None

    async def close(self) -> None:
        """Close the listener's connection."""
        if self._unblocking is not None:
            self._unblocking.cancel()
        await self._listener.close()
