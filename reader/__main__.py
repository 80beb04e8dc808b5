"""The reader process: `python -m reader`.

It reads the settings, takes a port, serves until SIGTERM or SIGINT, lets the requests under way finish, and
exits with 0. With wrong settings, without a Redis, or with a port that is taken, it says so in one line and
exits with 2. Several may share a port: each new connection goes to one of them, and one that stops fails nobody.

It starts, and keeps running, with Redis away: answers are then 503 until Redis is back.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, NoReturn

import structlog
import uvloop
from granian._granian import CallbackScheduler, RSGIWorker
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
from reader.listening import SHARES_PORTS, begin_no_more, listening_on
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
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""A look through all objects takes milliseconds in which nobody is served; what a request makes needs none."""
LOOK_S = 0.01
"""Between two looks whether our own port answers yet."""
_BEGUN_S = 0.1
"""How long connections that have begun at a shared port have to be made and to send their request."""

logger = structlog.get_logger("reader")


class Place(NamedTuple):
    """Where to listen, and whether others do so too."""

    host: str
    port: int
    shared: bool


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
    host, port = _find_address(settings.reader.host, settings.reader.port, shared=shared)
    uvloop.run(_serve(_server(reader, host, port), Place(host, port, shared), _listening_to(settings, hints)))


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


def _find_address(host: str, port: int, *, shared: bool) -> tuple[str, int]:
    """Where to listen, in numbers, with a free port for port 0; ends the process when it cannot be had.

    The server shares its port with any process that will share it, so it would not notice a second reader
    on the same one. Binding it here, unshared unless that is wanted, does.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(address)
            number, free, *_ = probe.getsockname()
    except OSError as error:
        _give_up(
            f"cannot listen on {host} port {port}: {error.strerror}. "
            "Set MOMENTUS_READER__HOST and MOMENTUS_READER__PORT (0 = any free port), "
            "or MOMENTUS_READER__SHARE_PORT for all readers that are to share it"
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


class _Requests(CallbackScheduler):
    """Takes requests from granian's threads to the event loop, where the reader answers them without a task.

    Granian's own way makes a coroutine and a task of each request, which costs as much again as the answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: Reader, *_: object) -> None:
        super().__init__()

        def serve(request: Any) -> None:  # noqa: ANN401  granian does not name it
            reader.serve(request.scope, request.proto)

        def schedule(request: Any) -> None:  # noqa: ANN401  and keeps for ever whatever this returns
            loop.call_soon_threadsafe(serve, request)

        self._schedule_fn = schedule


async def _work(worker_id: int, stopping: Any, reader: Reader, sock: Any, *options: Any) -> None:  # noqa: ANN401  granian's
    """What granian does to serve with one worker, but for who takes the requests."""
    *threads, _task, http, http1, http2, websockets, files, _log, tls, _scope = options
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    stopping.add_cb(lambda: loop.call_soon_threadsafe(told.set_result, None))
    settings = (http, http1, http2, websockets, files, *tls, (None, None))
    worker: Any = RSGIWorker(worker_id, sock, None, *threads, *settings)  # type: ignore[arg-type]  # its stub is of before
    worker.serve_async(_Requests(loop, reader, None, None, None), loop, stopping)
    await told


def _connections() -> int:
    """As many clients as this process may open files for: one more, and it could not even refuse it."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(CONNECTIONS, files - _OWN_FILES))


def _listening_to(settings: Settings, hints: Hints) -> Callable[[], Coroutine[None, None, None]]:
    """Listens for changes once there is an event loop."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    channel = f"momentus:{{reports}}:changed:{settings.tenant}"
    return lambda: listen(Redis.from_pool(open_pool(url, seconds=_SUBSCRIBED_S)), channel, hints.tell)


async def _serve(server: Server, place: Place, listening: Callable[[], Coroutine[None, None, None]]) -> None:
    told = asyncio.Event()
    changes = asyncio.create_task(listening())
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, told.set)
    serving = asyncio.create_task(server.serve(_work))  # type: ignore[arg-type]  # as above
    stopping = asyncio.create_task(told.wait())
    await _listening(serving, place)
    gc.collect()
    gc.freeze()  # what was loaded stays
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    logger.info("the reader listens", host=place.host, port=place.port)
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not told.is_set():
        raise SystemExit("reader: the HTTP server ended by itself")
    changes.cancel()
    if place.shared:
        begin_no_more(place.port)
        await asyncio.sleep(_BEGUN_S)
    server.stop()  # type: ignore[no-untyped-call]  # granian types its Rust side only
    finished, _ = await asyncio.wait({serving}, timeout=GRACE_S)
    logger.info("the reader stops", drained=bool(finished))


async def _listening(serving: asyncio.Task[None], place: Place) -> None:
    """Return once we listen; raise what went wrong if the server ended before."""
    while not serving.done():
        if await _listens(place):
            return
        await asyncio.sleep(LOOK_S)
    serving.result()


async def _listens(place: Place) -> bool:
    """Whether our own port answers; on a shared one another reader might, so there we look at our own sockets."""
    if place.shared:
        with listening_on(place.port) as ours:
            return bool(ours)
    try:
        _, writer = await asyncio.open_connection(place.host, place.port)
    except OSError:
        return False
    writer.close()
    return True


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
