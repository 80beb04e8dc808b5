"""The HTTP server of the operators' page, until SIGTERM or Ctrl-C: the thin rim around `ops.console.page`.

It starts, and keeps serving, with Redis away. A port that is taken is refused before the start: the server
shares its port with any process that will share it, so it would not notice a second console on the same one.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from ops.console.exchange import PageRequest
from ops.console.page import ConsolePage

_GRACE_S = 5
"""How long a stopping console waits for its clients."""
_LOOK_S = 0.01

_log = structlog.get_logger("ops.console")


class CannotListen(Exception):
    """The address is taken, or is none of this machine; the message names the setting."""


async def serve(console: ConsolePage, *, host: str, port: int, log_config: Mapping[str, Any]) -> None:
    """Serve until a signal asks to stop.

    Args:
        host: a loopback name or address.
        port: 0 for any free one; the log line of the start names it.
        log_config: how the server's own lines are logged, as ``logging.config.dictConfig`` takes it.

    Raises:
        CannotListen: nothing was started.
    """
    host, port = find_address(host, port)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    server = _server(console, host, port, log_config)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(told.wait())
    await _listening(serving, host, port)
    _log.info("the console listens", host=host, port=port)
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.stop()  # type: ignore[no-untyped-call]  # granian types its Rust side only
    await _drain(serving)
    stopping.cancel()
    await console.close()


def find_address(host: str, port: int) -> tuple[str, int]:
    """Where to listen, in numbers, with a free port for port 0.

    Raises:
        CannotListen: naming the setting at fault.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            number, free, *_ = probe.getsockname()
    except OSError as error:
        raise CannotListen(
            f"the console cannot listen on {host} port {port}: {error.strerror}. "
            "Set MOMENTUS_CONSOLE__PORT (0 = any free port) or MOMENTUS_CONSOLE__HOST"
        ) from None
    return str(number), int(free)


def _server(console: ConsolePage, host: str, port: int, log_config: Mapping[str, Any]) -> Server:
    return Server(
        _Rsgi(console),
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=dict(log_config),
    )


async def _listening(serving: "asyncio.Task[None]", host: str, port: int) -> None:
    """Return once the port answers; raise what went wrong if the server ended before."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_LOOK_S)
        else:
            writer.close()
            return
    serving.result()


async def _drain(serving: "asyncio.Task[None]") -> None:
    """Let requests under way finish, but wait for no client that does not read its answer."""
    finished, _ = await asyncio.wait({serving}, timeout=_GRACE_S)
    _log.info("the console stops", drained=bool(finished))
    if not finished:
        os._exit(0)  # the server knows no way to leave such a client; nothing is held here that could be lost


class _Headers(Protocol):
    def get(self, name: str, default: str) -> str: ...


class _Scope(Protocol):
    method: str
    path: str

    @property
    def headers(self) -> _Headers: ...


class _Responder(Protocol):
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


class _Rsgi:
    """The RSGI application around the page."""

    def __init__(self, console: ConsolePage) -> None:
        self._console = console

    async def __rsgi__(self, scope: _Scope, protocol: _Responder) -> None:
        """Answer one HTTP request; the server was told not to take WebSockets."""
        found = await self._console.answer(
            PageRequest(
                method=scope.method,
                path=scope.path,
                host=scope.headers.get("host", ""),
                accept_language=scope.headers.get("accept-language", ""),
            )
        )
        protocol.response_bytes(found.status, found.all_headers, found.body)
