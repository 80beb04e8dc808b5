"""The reader process: `python -m reader`.

It reads the settings, takes a port, serves until SIGTERM or SIGINT, lets the requests under way finish, and
exits with 0. With wrong settings, without a Redis, or with a port that is taken, it says so in one line and
exits with 2.

It starts, and keeps running, with Redis away: answers are then 503 until Redis is back.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from redis.asyncio import Redis

import log
from reader.changes import listen
from reader.connection import DEADLINE, Connection
from reader.copy import Copy
from reader.cors import Origins
from reader.guard import Guard
from reader.guard_of_cluster import ClusterGuard
from reader.handler import Reader
from reader.hints import Hints
from reader.report import Reports
from reader.store import Store
from sessions import Sessions
from sessions.connection import open_pool
from settings import Settings, load_or_exit

GRACE_S = 5
"""How long a stopping reader lets requests finish. None takes that long, but a client may not read its answer."""

CONNECTIONS = 4096
"""Clients connected at once, idle ones and streams of hints among them; the next one waits for a place."""
_OWN_FILES = 64
"""Files that the process itself may need."""
_MIB = 1024 * 1024
_SUBSCRIBED_S = 15
"""Longer than a subscription goes without a sign of life."""
LOOK_S = 0.01
"""Between two looks whether our own port answers yet."""

logger = structlog.get_logger("reader")


def main() -> None:
    """Serve until told to stop."""
    settings = load_or_exit()
    log.set_up(settings.log_format, settings.log_level)
    if settings.redis_url is None:
        _give_up("MOMENTUS_REDIS_URL is not set: the reader needs a Redis (`./run up` brings its own)")
    hints = Hints()
    try:
        reader = _reader(settings, settings.redis_url.get_secret_value(), hints)
    except ValueError as error:
        _give_up(f"MOMENTUS_REDIS_URL: {error}")
    host, port = _find_address(settings.reader.host, settings.reader.port)
    uvloop.run(_serve(_server(reader, host, port), host, port, _listening_to(settings, hints)))


def _reader(settings: Settings, url: str, hints: Hints) -> Reader:
    copy = Copy(octets=settings.reader.copy_mib * _MIB) if settings.reader.copy_mib else None
    connection = Connection(url, on_changed=copy.changed if copy else None)
    guard = _guard(url, connection, copy) if settings.reader.access == "session" else None
    store = Store(connection, tenant=settings.tenant, copy=copy)
    origins = Origins(settings.reader.cors_origins.split())
    return Reader(store, Reports(store, guard), guard, hints=hints, origins=origins)


def _guard(url: str, connection: Connection, copy: Copy | None) -> Guard:
    if url.startswith(("cluster://", "clusters://")):
        return ClusterGuard(Sessions.connect(url, deadline=DEADLINE))
    return Guard(connection, copy)


def _find_address(host: str, port: int) -> tuple[str, int]:
    """Where to listen, in numbers, with a free port for port 0; ends the process when it cannot be had.

    The server shares its port with any process that will share it, so it would not notice a second reader
    on the same one. Binding it here, unshared, does.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            number, free, *_ = probe.getsockname()
    except OSError as error:
        _give_up(
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Set MOMENTUS_READER__HOST and MOMENTUS_READER__PORT (0 = any free port)"
        )
    return str(number), int(free)


def _server(reader: Reader, host: str, port: int) -> Server:
    return Server(
        reader,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        backpressure=_connections(),
        log_level=LogLevels.error,
        log_dictconfig=log.GRANIAN_LOGGING,
    )


def _connections() -> int:
    """As many clients as this process may open files for: one more, and it could not even refuse it."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, files - _OWN_FILES))


def _listening_to(settings: Settings, hints: Hints) -> Callable[[], Coroutine[None, None, None]]:
    """Listens for changes once there is an event loop."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    channel = f"momentus:{{reports}}:changed:{settings.tenant}"
    return lambda: listen(Redis.from_pool(open_pool(url, seconds=_SUBSCRIBED_S)), channel, hints.tell)


async def _serve(
    server: Server, host: str, port: int, listening: Callable[[], Coroutine[None, None, None]]
) -> None:
    told = asyncio.Event()
    changes = asyncio.create_task(listening())
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, told.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(told.wait())
    await _listening(serving, host, port)
    logger.info("the reader listens", host=host, port=port)
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not told.is_set():
        raise SystemExit("reader: the HTTP server ended by itself")
    changes.cancel()
    server.stop()  # type: ignore[no-untyped-call]  # granian types its Rust side only
    finished, _ = await asyncio.wait({serving}, timeout=GRACE_S)
    logger.info("the reader stops", drained=bool(finished))


async def _listening(serving: asyncio.Task[None], host: str, port: int) -> None:
    """Return once the port answers; raise what went wrong if the server ended before."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(LOOK_S)
        else:
            writer.close()
            return
    serving.result()


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"reader: {reason}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The HTTP server's threads may still run, and one that asks for the interpreter while it is being torn down
    # aborts the process. There is nothing left to tear down.
    os._exit(0)
