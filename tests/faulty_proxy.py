"""A TCP proxy that spoils the network between a client and a server, at will and while it runs.

    async with FaultyProxy(server_port) as proxy:
        client = Redis(port=proxy.port)
        proxy.stall()               # connections stay open, nothing gets through, until `let_pass`

| fault     | what a client sees                                                         | real cause             |
|-----------|----------------------------------------------------------------------------|------------------------|
| delay     | everything, later                                                          | distance               |
| stall     | an open connection on which nothing comes; all of it comes after the fault | full buffers, a freeze |
| half-open | one direction is gone; a connection that lost octets never works again     | a firewall's restart   |
| limit     | so many octets, then as stall: a reply that stops in its middle            | a path of a small MTU  |
| forget    | silence on the connections there are; new ones work                        | a firewall that forgot |
| cut       | a reset of the connections there are; new ones work                        | another path taken     |
| refuse    | a reset, and new connections are refused                                   | no process, a firewall |

Octets are never lost in the middle of a connection, because TCP does not do that either: a connection that
has swallowed some stays deaf in that direction for the rest of its life.
"""

import asyncio
import math
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal, Self

Direction = Literal["to_server", "to_client"]
_CHUNK = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Passage:
    """One client's connection and the one made for it."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ways: list[asyncio.Task[None]] = field(default_factory=list)
    deaf: set[Direction] = field(default_factory=set)

    def reset(self) -> None:
        for end in self.ends:
            end_socket = end.get_extra_info("socket")
            if end_socket.fileno() != -1:  # its peer may have closed it before this passage heard of that
                end_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def close(self) -> None:
        for way in self.ways:
            way.cancel()
        for end in self.ends:
            end.transport.abort()


class FaultyProxy:
    """Listens on 127.0.0.1 and forwards to a port there; without a fault until one is switched on.

    Args:
        server_port: where to forward to; nobody needs to listen there yet.

    Attributes:
        port: where it listens.
        forwarded: octets forwarded so far, both directions together.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening: asyncio.Server | None = None
        self._passages: set[Passage] = set()
        self._passing: set[asyncio.Task[None] | None] = set()
        self._open = asyncio.Event()
        self._swallowed: set[Direction] = set()
        self._delay = 0.0
        self._left = math.inf
        self.port = 0
        self.forwarded = 0
        self.let_pass()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._passages)

    @property
    def is_stalled(self) -> bool:
        """Whether nothing gets through, also because the limit has been reached."""
        return not self._open.is_set()

    def let_pass(self) -> None:
        """End delay, stall, limit and half-open; connections that lost octets stay deaf."""
        self._swallowed.clear()
        self._delay = 0.0
        self._left = math.inf
        self._open.set()

    def delay(self, seconds: float) -> None:
        """Hold each chunk for so long."""
        self._delay = seconds

    def stall(self) -> None:
        """Forward nothing, keep everything."""
        self._open.clear()

    def limit(self, octets: int) -> None:
        """Forward so many octets more, both directions together, then stall."""
        self._left = octets

    def swallow(self, direction: Direction) -> None:
        """Drop whatever comes in this direction."""
        self._swallowed.add(direction)

    def forget(self) -> None:
        """Drop without a word whatever comes on the connections there are."""
        for passage in self._passages:
            passage.deaf |= {"to_server", "to_client"}

    def cut(self) -> None:
        """Reset the connections there are."""
        for passage in list(self._passages):
            passage.reset()

    async def refuse(self) -> None:
        """Reset the connections there are and take no more, until `accept`."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        self.cut()
        await asyncio.gather(*filter(None, self._passing))

    async def accept(self) -> None:
        """Take connections (again), on the same port."""
        self._listening = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._passing.add(asyncio.current_task())
        try:
            await self._connect(reader, writer)
        finally:
            self._passing.discard(asyncio.current_task())

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        passage = Passage((writer, server_writer))
        passage.ways = [
            asyncio.create_task(self._forward(passage, "to_server", reader, server_writer)),
            asyncio.create_task(self._forward(passage, "to_client", server_reader, writer)),
        ]
        self._passages.add(passage)
        await asyncio.wait(passage.ways, return_when=asyncio.FIRST_COMPLETED)
        passage.close()
        self._passages.discard(passage)

    async def _forward(
        self, passage: Passage, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self._carry(passage, direction, chunk, writer)
        except OSError:
            return

    async def _carry(
        self, passage: Passage, direction: Direction, chunk: bytes, writer: asyncio.StreamWriter
    ) -> None:
        if self._delay:
            await asyncio.sleep(self._delay)
        if direction in self._swallowed:
            passage.deaf.add(direction)
        if direction in passage.deaf:
            return
        while chunk:
            await self._open.wait()
            part = chunk[: int(min(len(chunk), self._left))]
            chunk = chunk[len(part) :]
            self._left -= len(part)
            self.forwarded += len(part)
            writer.write(part)
            await writer.drain()
            if self._left == 0:
                self.stall()
