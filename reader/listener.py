"""The socket on which the reader listens, and everybody who has come through it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import background
from reader.backlog import Backlog
from reader.http import ClientConnection, ParsedRequests, Serve
from reader.listening import begin_no_more

_BACKLOG = 1024
_SWEEP_S = 1.0
"""How exactly deadlines are kept."""
_BEGUN_S = 0.1
"""How long connections that have begun at a shared port have to be made."""
_NEXT_S = 1.0
"""How long, at the end, a client's next request is waited for: its answer can say that it was the last one."""
_FIRST_S = 2.0
"""How long that of a client is which has connected and not asked yet."""
_LOOK_S = 0.02


class Listener:
    """Serves all clients of one socket.

    Args:
        serve: answers requests.
        listening: bound, not listening yet.
        limit: clients at a time.
        backlog: bounds what they hold together.

    Attributes:
        clients: whose connections are open.
    """

    def __init__(
        self, serve: Serve, listening: socket.socket, *, limit: int, backlog: Backlog | None = None
    ) -> None:
        self._serve = serve
        self._socket = listening
        self._limit = limit
        self.clients: set[ClientConnection] = set()
        self._kept = ParsedRequests()
        self._backlog = backlog or Backlog()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Let clients in."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._client, sock=self._socket, backlog=_BACKLOG)
        self._sweep_later()

    async def stop(self, *, shared: bool, grace_s: float) -> bool:
        """Let nobody in any more, and whoever is in the middle of something finish: whether all have.

        Args:
            shared: others listen on this port too, and nobody may be lost between them and us.
        """
        if shared:
            begin_no_more(self._socket)
            await asyncio.sleep(_BEGUN_S)
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()
        began = now = loop.time()
        while self.clients and now < began + grace_s:
            for client in list(self.clients):
                client.end(waits=now < began + (_NEXT_S if client.served else _FIRST_S))
            await asyncio.sleep(_LOOK_S)
            now = loop.time()
        finished = not self.clients
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)  # for the event loop to tell them so
        if self._sweep is not None:
            self._sweep.cancel()
        return finished

    def _client(self) -> ClientConnection:
        return ClientConnection(self._serve, self.clients, self._kept, self._limit, self._backlog)

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._expire)

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            for client in [one for one in self.clients if one.deadline <= now]:
                with suppress(RuntimeError):  # closed meanwhile
                    client.expire()
        except Exception as error:  # noqa: BLE001  a fault of ours must not end the sweeps
            background.note("sweep of clients", error)
        self._sweep_later()
