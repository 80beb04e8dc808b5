"""Sentinels that fail in every way a sentinel can: each answers as its test wants, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis

Names = Callable[[], int | None]
"""The port that is named for the primary, 0 for "no such service", None for no answer ever."""


class _Sentinel(asyncio.Protocol):
    def __init__(self, names: Names, connections: set[asyncio.BaseTransport]) -> None:
        self._names = names
        self._connections = connections
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.add(transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._reader.gets() is not False:
            port = self._names()
            if port is not None and isinstance(self._transport, asyncio.Transport):
                self._transport.write(_answer(port))


def _answer(port: int) -> bytes:
    return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port) if port else b"*-1\r\n"


@asynccontextmanager
async def false_sentinel(names: Names) -> AsyncIterator[int]:
    """The port of one that names what it is told to."""
    connections: set[asyncio.BaseTransport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Sentinel(names, connections), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for one in connections:
            one.close()
    await asyncio.sleep(0)  # asyncio lets go of the sockets in the next tick of the loop
