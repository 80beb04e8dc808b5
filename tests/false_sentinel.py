"""Sentinels that fail in every way a sentinel can: each answers as its test wants, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis

Names = Callable[[], int | None]
"""The port that is named for the primary, 0 for "no such service", None for no answer ever."""


class _Sentinel(asyncio.Protocol):
    def __init__(self, names: Names, callers: "_Callers") -> None:
        self._names = names
        self._callers = callers
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._callers.admit(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._callers.dismiss(self._transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while self._reader.gets() is not False:
            port = self._names()
            if port is not None and isinstance(self._transport, asyncio.Transport):
                self._transport.write(_answer(port))


class _Callers:
    """The connections of one sentinel; one that the loop accepted before the end is closed when it opens."""

    def __init__(self) -> None:
        self.transports: set[asyncio.BaseTransport] = set()
        self._ended = False
        self._are_gone = asyncio.Event()

    def admit(self, transport: asyncio.BaseTransport) -> None:
        self.transports.add(transport)
        if self._ended:
            transport.close()

    def dismiss(self, transport: asyncio.BaseTransport) -> None:
        self.transports.discard(transport)
        if self._ended and not self.transports:
            self._are_gone.set()

    async def end(self) -> None:
        self._ended = True
        for one in self.transports:
            one.close()
        for _ in range(_TICKS_TO_OPEN):
            await asyncio.sleep(0)
        if self.transports:
            await self._are_gone.wait()


_TICKS_TO_OPEN = 4
"""Of the loop, from accepting a connection to its `connection_made`; asyncio needs three."""


def _answer(port: int) -> bytes:
    return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port) if port else b"*-1\r\n"


@asynccontextmanager
async def false_sentinel(names: Names) -> AsyncIterator[int]:
    """The port of one that names what it is told to."""
    callers = _Callers()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: _Sentinel(names, callers), "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    await callers.end()
