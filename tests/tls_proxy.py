"""TLS in front of a server that has none: the client meets a certificate, and behind it the real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a Postgres client asks first (PostgreSQL, "Message Formats", SSLRequest)."""


@asynccontextmanager
async def encrypted(port: int, context: ssl.SSLContext, *, postgres: bool = False) -> AsyncIterator[int]:
    """A port that speaks TLS, and hands on to another what it reads.

    Args:
        postgres: TLS begins only when the client has asked for it, as Postgres has it.
    """
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if postgres:
                assert await reader.readexactly(8) == _SSL_REQUEST, "nothing is said in the clear"
                writer.write(b"S")
                await writer.start_tls(context)
            await _join(reader, writer, port)
        writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if postgres else context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Carry octets both ways until one side ends."""
    beyond_reader, beyond_writer = await asyncio.open_connection("127.0.0.1", port)
    ways = [
        asyncio.create_task(_carry(reader, beyond_writer)),
        asyncio.create_task(_carry(beyond_reader, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        beyond_writer.transport.abort()  # before what may be cancelled
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()
