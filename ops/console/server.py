"""HTTP server of the small pages on this machine (the console, the mail sink): uvicorn around one function.

The socket is bound before the server starts, so the system reports a port in use, and an announced port listens.
SIGTERM and Ctrl-C stop it: running requests finish, and a client that does not read its response is dropped after
five seconds.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from metrics.service_manager import STOPPING, send_notice
from ops.console.exchange import BODY_LIMIT, PageRequest, PageResponse

_GRACE_S = 5
"""The time that a stopping server waits for its clients."""

Answer = Callable[[PageRequest], Awaitable[PageResponse]]


def listen(host: str, port: int) -> socket.socket:
    """Listen on a name or address of this machine; port 0 takes any free one.

    Raises:
        OSError: the port is taken, or the host is not an address of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server((address[0], address[1]), family=family)


async def serve(answer: Answer, listener: socket.socket) -> None:
    """Answer requests until a stop signal, then close the listener."""
    server = _ConsoleServer(
        uvicorn.Config(
            _application(answer),
            lifespan="off",
            ws="none",
            access_log=False,
            server_header=False,
            log_config=None,
            proxy_headers=False,  # who is at the other end decides what a request may do
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    await server.serve(sockets=[listener])


class _ConsoleServer(uvicorn.Server):
    """Uvicorn that does not raise the signal again after its stop, so that the exit code is 0."""

    def stop(self) -> None:
        """Ask the server to stop; a second call changes nothing."""
        send_notice(STOPPING)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


Receive = Callable[[], Awaitable[dict[str, Any]]]


def _application(answer: Answer) -> Callable[..., Awaitable[None]]:
    """Return the ASGI application; without lifespan and WebSockets every call is one HTTP request."""

    async def application(
        scope: dict[str, Any], receive: Receive, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        body = await _read_body(receive) if scope["method"] == "POST" else b""
        response = PageResponse(status=413) if body is None else await answer(_request(scope, body))
        headers = [*response.all_headers, ("content-length", str(len(response.body)))]
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        await send({"type": "http.response.body", "body": response.body})

    return application


def _request(scope: dict[str, Any], body: bytes) -> PageRequest:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
    return PageRequest(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        host=headers.get("host", ""),
        accept_language=headers.get("accept-language", ""),
        headers=headers,
        body=body,
        peer=scope["client"][0] if scope.get("client") else "",
    )


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or None if it is longer than `BODY_LIMIT`."""
    parts, length, more = list[bytes](), 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        length, more = length + len(parts[-1]), message.get("more_body", False)
        if length > BODY_LIMIT:
            return None
    return b"".join(parts)
