"""The reader's listener: accepts connections, enforces their deadlines and stops."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import background
from reader.backlog import Backlog
from reader.http.client import ClientConnection, Serve
from reader.http.request import ParsedRequests
from reader.http.socket import drop_new_connections

_BACKLOG = 1024
_SWEEP_S = 1.0
"""Interval at which deadlines are checked."""
_BEGUN_S = 0.1
"""Time for connections that have begun on a shared port to be accepted."""
_NEXT_S = 1.0
"""Time, at the end, to wait for a client's next request, whose response can announce that it is the last."""
_FIRST_S = 2.0
"""Time, at the end, to wait for the first request of a client that has connected."""
_POLL_S = 0.02


class Listener:
    """Listener that serves all clients of one socket.

    Args:
        serve: responds to requests.
        listening: socket that is bound and does not listen yet.
        limit: largest number of clients at a time.
        backlog: limits the bytes that connections hold together.

    Attributes:
        clients: open connections.
    """

    def __init__(
        self, serve: Serve, listening: socket.socket, *, limit: int, backlog: Backlog | None = None
    ) -> None:
        self._serve = serve
        self._socket = listening
        self._limit = limit
        self.clients: set[ClientConnection] = set()
        self._cache = ParsedRequests()
        self._backlog = backlog or Backlog()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen and accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._client, sock=self._socket, backlog=_BACKLOG)
        self._sweep_later()

    async def stop(self, *, shared: bool, grace_s: float) -> bool:
        """Accept no more connections and let the open ones finish.

        Args:
            shared: other readers listen on this port too; no connection may be lost between them and this one.
            grace_s: seconds after which open connections are aborted.

        Returns:
            True if all connections finished by themselves.
        """
        if shared:
            drop_new_connections(self._socket)
            await asyncio.sleep(_BEGUN_S)
        if self._server is not None:
            self._server.close()
        loop = asyncio.get_running_loop()
        began = now = loop.time()
        while self.clients and now < began + grace_s:
            for client in list(self.clients):
                client.end(waits=now < began + (_NEXT_S if client.served else _FIRST_S))
            await asyncio.sleep(_POLL_S)
            now = loop.time()
        finished = not self.clients
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)  # lets the event loop call connection_lost
        if self._sweep is not None:
            self._sweep.cancel()
        return finished

    def _client(self) -> ClientConnection:
        return ClientConnection(self._serve, self.clients, self._cache, self._limit, self._backlog)

    def _sweep_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._expire)

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            for client in [one for one in self.clients if one.deadline <= now]:
                with suppress(RuntimeError):  # closed meanwhile
                    client.enforce_deadline()
        except Exception as error:  # noqa: BLE001  an error here must not end the sweeps
            background.note_fault("sweep of clients", error)
        self._sweep_later()
