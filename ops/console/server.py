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

from ops.console.exchange import PageRequest, PageResponse

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
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _application(answer: Answer) -> Callable[..., Awaitable[None]]:
    """Return the ASGI application; without lifespan and WebSockets every call is one HTTP request."""

    async def application(
        scope: dict[str, Any], _receive: object, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        sent = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        response = await answer(
            PageRequest(
                method=scope["method"],
                path=scope["path"],
                host=sent.get(b"host", ""),
                accept_language=sent.get(b"accept-language", ""),
                accept=sent.get(b"accept", ""),
            )
        )
        headers = [*response.all_headers, ("content-length", str(len(response.body)))]
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": response.status, "headers": fields})
        await send({"type": "http.response.body", "body": response.body})

    return application
