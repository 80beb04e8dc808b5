"""The reader process: `python -m reader`.

It reads the settings, binds a port, serves until SIGTERM or SIGINT, lets the requests under way finish, and
exits with 0. With wrong settings, without the address of a Redis, or with a port in use, it prints one line and
exits with 2. Several readers may share a port: each new connection goes to one of them, and a reader that stops
breaks no connection.

It starts and keeps running while Redis is unreachable; responses are then 503 until Redis is back.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # until all is loaded and frozen: scanning what is being loaded takes a tenth of the start

import asyncio
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog
import uvloop
from redis.asyncio import Redis

import background
import log
from hosts import AllowedHosts
from metrics.listener import serve_page
from metrics.place import ListenPlace, bind, name_of
from metrics.service_manager import STOPPING, keep_notified, send_notice
from producers.link.client import open_pool
from reader.cache import ReplyCache
from reader.changes import listen_for_changes
from reader.clock import RedisClock
from reader.connection import DEADLINE, Connection
from reader.cors import Origins
from reader.guard import Guard
from reader.guard_of_cluster import ClusterGuard
from reader.handler import Reader
from reader.hints import Hints
from reader.http.listener import Listener
from reader.http.socket import SHARES_PORTS, bind_socket
from reader.report import ReportResponder
from reader.store import StoredReports
from settings import Settings, load_or_exit

GRACE_S = 5
"""Seconds in which a stopping reader lets requests finish. None takes that long, but a client may be slow to
read."""

CONNECTIONS = 4096
"""Largest number of connections, including idle ones and streams of hints; one more is refused."""
_OWN_FILES = 64
"""Open files that the process itself may need."""
_MIB = 1024 * 1024
_SUBSCRIBED_S = 15
"""Socket timeout of the subscription; longer than the interval of its pings."""
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Allocations between garbage collections. A collection stops the process for milliseconds, and a request leaves
no cycles."""

logger = structlog.get_logger("reader")


def main() -> None:
    """Serve until a signal stops the process."""
    settings = load_or_exit()
    log.set_up(settings.log_format, settings.log_level)
    if settings.redis_url is None:
        _give_up("MOMENTUS_REDIS_URL: not set; the reader needs a Redis (`./run up` starts one)")
    hints = Hints()
    try:
        reader = _reader(settings, settings.redis_url.get_secret_value(), hints)
    except ValueError as error:
        _give_up(f"MOMENTUS_REDIS_URL: {error}")
    shared = settings.reader.share_port == "on"
    if shared and not SHARES_PORTS:
        _give_up("MOMENTUS_READER__SHARE_PORT: this system cannot share a port (on); unset it")
    listening = _bind(settings.reader.host, settings.reader.port, shared=shared)
    metrics = _metrics(settings.metrics.reader)
    uvloop.run(log.run_watched(_serve(reader, listening, shared, _listening_to(settings, hints), metrics)))


def _reader(settings: Settings, url: str, hints: Hints) -> Reader:
    copy = ReplyCache(limit=settings.reader.copy_mib * _MIB) if settings.reader.copy_mib else None
    connection = Connection(url, copy=copy, clock=RedisClock(bound=settings.reports.clock_bound))
    guard = _guard(url, connection, copy) if settings.reader.access == "session" else None
    store = StoredReports(connection, tenant=settings.tenant, copy=copy)
    origins = Origins(settings.reader.cors_origins.split())
    return Reader(
        store, ReportResponder(store, guard), guard, hints=hints, origins=origins, hosts=_hosts(settings)
    )


def _hosts(settings: Settings) -> AllowedHosts | None:
    """Return the accepted host names, or None for any: with sessions, a page of another name has no cookie."""
    listed = settings.reader.allowed_hosts.split()
    return AllowedHosts(listed) if listed or settings.reader.access == "open" else None


def _guard(url: str, connection: Connection, copy: ReplyCache | None) -> Guard:
    if url.startswith(("cluster://", "clusters://")):
        return ClusterGuard(url, deadline=DEADLINE)
    return Guard(connection, copy)


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """Return the bound socket; exit if the address cannot be bound."""
    try:
        return bind_socket(host, port, shared=shared)
    except OSError as error:
        _give_up(
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Set MOMENTUS_READER__HOST and MOMENTUS_READER__PORT (0 = any free port), "
            "or MOMENTUS_READER__SHARE_PORT for all readers that are to share it"
        )


def _metrics(text: str | None) -> tuple[ListenPlace, socket.socket] | None:
    """Return the place of the metrics and its bound socket; exit if it cannot be bound."""
    if text is None:
        return None
    place = ListenPlace.read(text)
    try:
        return place, bind(place)
    except OSError as error:
        _give_up(
            f"MOMENTUS_METRICS__READER: cannot listen on {place}: {error.strerror}; name another port "
            "(0 = any free one) or path; each process needs one of its own"
        )


@asynccontextmanager
async def _serve_metrics(reader: Reader, metrics: tuple[ListenPlace, socket.socket] | None) -> AsyncIterator[None]:
    if metrics is None:
        yield
        return
    place, listening = metrics
    async with serve_page(reader.read_metrics, listening, place, reader.health):
        logger.info("the metrics are served", where=name_of(listening))
        yield


def _connections() -> int:
    """Return how many connections this process can hold open: with one more it could not even refuse it."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, files - _OWN_FILES))


def _listening_to(settings: Settings, hints: Hints) -> Callable[[], Coroutine[None, None, None]]:
    """Return a function that listens for changes; it needs a running event loop."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    channel = f"momentus:{{reports}}:changed:{settings.tenant}"
    return lambda: listen_for_changes(
        Redis.from_pool(open_pool(url, seconds=_SUBSCRIBED_S, tag="{reports}")),
        channel,
        hints.publish_change,
        hints.resume_streams,
    )


async def _serve(
    reader: Reader,
    listening: socket.socket,
    shared: bool,  # noqa: FBT001  a fact, not a switch
    changes: Callable[[], Coroutine[None, None, None]],
    metrics: tuple[ListenPlace, socket.socket] | None = None,
) -> None:
    stopped = asyncio.Event()
    hearing = background.start_task("changes", changes)
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, stopped.set)
    listener = Listener(reader.serve, listening, limit=_connections())
    await listener.start()
    gc.collect()
    gc.freeze()  # loaded modules stay for the life of the process
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    gc.enable()
    host, port, *_ = listening.getsockname()
    logger.info("the reader listens", host=host, port=port)
    async with reader.measure_loop(), _serve_metrics(reader, metrics), keep_notified(reader.health):
        await stopped.wait()
    send_notice(STOPPING)
    await background.stop_tasks(hearing)
    reader.end_streams()
    finished = await listener.stop(shared=shared, grace_s=GRACE_S)
    logger.info("the reader stops", drained=finished)


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"reader: {reason}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
