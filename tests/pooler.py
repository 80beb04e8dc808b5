"""PgBouncer in transaction mode in front of a server, and a stand-in that only shows what a pooler shows."""

import asyncio
import pwd
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from local.embedded.binaries import server_user
from local.embedded.ports import free_port
from tests.support import eventually, scratch_directory

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={port} user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
{more}
"""


@asynccontextmanager
async def pooler(dsn: str, more: str = "") -> AsyncIterator[str]:
    """The address of the same database through PgBouncer, where that is installed.

    Args:
        more: further lines of its configuration.
    """
    assert PGBOUNCER is not None
    it, own = urlsplit(dsn), free_port()
    user, password = unquote(it.username or ""), unquote(it.password or "")
    with scratch_directory() as scratch:
        file = Path(scratch) / "pgbouncer.ini"
        file.write_text(_CONFIGURATION.format(port=it.port, user=user, password=password, own=own, more=more))
        runs_as = server_user()
        process = await asyncio.create_subprocess_exec(
            PGBOUNCER,
            "-q",
            str(file),
            cwd="/",
            stderr=asyncio.subprocess.DEVNULL,
            user=runs_as,
            group=None if runs_as is None else pwd.getpwnam(runs_as).pw_gid,
            extra_groups=None if runs_as is None else [],
        )
        address = it._replace(netloc=f"anybody:x@127.0.0.1:{own}").geturl()
        try:
            await eventually(lambda: _answers(address))
            yield address
        finally:
            process.terminate()
            await process.wait()


async def _answers(dsn: str) -> bool:
    with suppress(OSError, asyncpg.PostgresError):
        connection = await asyncpg.connect(dsn, statement_cache_size=0)
        await connection.close()
        return True
    return False


@asynccontextmanager
async def disguised(dsn: str) -> AsyncIterator[str]:
    """The address of the server behind a proxy that gives another process id than the server's, as poolers do."""
    it = urlsplit(dsn)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond_reader, beyond_writer = await asyncio.open_connection("127.0.0.1", it.port)
        with suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.TaskGroup() as both:
                both.create_task(_carry(reader, beyond_writer))
                both.create_task(_carry_disguised(beyond_reader, writer))
        writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield it._replace(netloc=f"{it.netloc.rpartition('@')[0]}@127.0.0.1:{port}").geturl()
    finally:
        listening.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()
    writer.transport.abort()


async def _carry_disguised(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Messages as they are, but for BackendKeyData ("Message Formats"); before any, the answer to SSLRequest."""
    kind = await reader.readexactly(1)
    if kind in {b"N", b"S"}:
        writer.write(kind)
        kind = await reader.readexactly(1)
    while kind != b"K":
        writer.write(kind + await _rest(reader))
        kind = await reader.readexactly(1)
    message = await _rest(reader)
    writer.write(kind + message[:4] + bytes(octet ^ 0x55 for octet in message[4:8]) + message[8:])
    await _carry(reader, writer)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length) - 4)
