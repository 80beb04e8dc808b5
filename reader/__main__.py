"""The reader process: `python -m reader`.

It reads the settings, takes a port, serves until SIGTERM or SIGINT, lets the requests under way finish, and
exits with 0. With wrong settings, without a Redis, or with a port that is taken, it says so in one line and
exits with 2. Several may share a port: each new connection goes to one of them, and one that stops fails nobody.

It starts, and keeps running, with Redis away: answers are then 503 until Redis is back.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn

import structlog
import uvloop
from redis.asyncio import Redis

import background
import log
from hosts import AllowedHosts
from producers.link.client import open_pool
from reader.cache import ReplyCache
from reader.changes import listen
from reader.clock import RedisClock
from reader.connection import DEADLINE, Connection
from reader.cors import Origins
from reader.guard import Guard
from reader.guard_of_cluster import ClusterGuard
from reader.handler import Reader
from reader.hints import Hints
from reader.http.listener import Listener
from reader.http.socket import SHARES_PORTS, bind
from reader.report import ReportResponder
from reader.store import StoredReports
from settings import Settings, load_or_exit

GRACE_S = 5
"""How long a stopping reader lets requests finish. None takes that long, but a client may not read its answer."""
_CANCEL_AGAIN_S = 0.1

CONNECTIONS = 4096
"""Clients connected at once, idle ones and streams of hints among them; the next one waits for a place."""
_OWN_FILES = 64
"""Files that the process itself may need."""
_MIB = 1024 * 1024
_SUBSCRIBED_S = 15
"""Longer than a subscription goes without a sign of life."""
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""A look through all objects takes milliseconds in which nobody is served; what a request makes needs none."""

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
    shared = settings.reader.share_port == "on"
    if shared and not SHARES_PORTS:
        _give_up("MOMENTUS_READER__SHARE_PORT: this system cannot share a port; unset it")
    listening = _bind(settings.reader.host, settings.reader.port, shared=shared)
    uvloop.run(log.watched(_serve(reader, listening, shared, _listening_to(settings, hints))))


def _reader(settings: Settings, url: str, hints: Hints) -> Reader:
    copy = ReplyCache(octets=settings.reader.copy_mib * _MIB) if settings.reader.copy_mib else None
    connection = Connection(url, copy=copy, clock=RedisClock(bound=settings.reports.clock_bound))
    guard = _guard(url, connection, copy) if settings.reader.access == "session" else None
    store = StoredReports(connection, tenant=settings.tenant, copy=copy)
    origins = Origins(settings.reader.cors_origins.split())
    return Reader(
        store, ReportResponder(store, guard), guard, hints=hints, origins=origins, hosts=_hosts(settings)
    )


def _hosts(settings: Settings) -> AllowedHosts | None:
    """The names to answer to; None for any: where a session is needed, a page of another name has none."""
    listed = settings.reader.allowed_hosts.split()
    return AllowedHosts(listed) if listed or settings.reader.access == "open" else None


def _guard(url: str, connection: Connection, copy: ReplyCache | None) -> Guard:
    if url.startswith(("cluster://", "clusters://")):
        return ClusterGuard(url, deadline=DEADLINE)
    return Guard(connection, copy)


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """Where to listen; ends the process when it cannot be had."""
    try:
        return bind(host, port, shared=shared)
    except OSError as error:
        _give_up(
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Set MOMENTUS_READER__HOST and MOMENTUS_READER__PORT (0 = any free port), "
            "or MOMENTUS_READER__SHARE_PORT for all readers that are to share it"
        )


def _connections() -> int:
    """As many clients as this process may open files for: one more, and it could not even refuse it."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, files - _OWN_FILES))


def _listening_to(settings: Settings, hints: Hints) -> Callable[[], Coroutine[None, None, None]]:
    """Listens for changes once there is an event loop."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    channel = f"momentus:{{reports}}:changed:{settings.tenant}"
    return lambda: listen(
        Redis.from_pool(open_pool(url, seconds=_SUBSCRIBED_S, tag="{reports}")),
        channel,
        hints.tell,
        hints.resume,
    )


async def _serve(
    reader: Reader,
    listening: socket.socket,
    shared: bool,  # noqa: FBT001  a fact, not a switch
    changes: Callable[[], Coroutine[None, None, None]],
) -> None:
    told = asyncio.Event()
    hearing = background.start("changes", changes)
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, told.set)
    listener = Listener(reader.serve, listening, limit=_connections())
    await listener.start()
    gc.collect()
    gc.freeze()  # what was loaded stays
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    host, port, *_ = listening.getsockname()
    logger.info("the reader listens", host=host, port=port)
    await told.wait()
    await _end(hearing)
    reader.end_streams()
    finished = await listener.stop(shared=shared, grace_s=GRACE_S)
    logger.info("the reader stops", drained=finished)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it until it has ended: redis-py, while it connects, at times takes a cancellation for its timeout."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"reader: {reason}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
