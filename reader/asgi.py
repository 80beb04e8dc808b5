"""The reader as an ASGI 3 application, for other servers and for tests without a socket.

The reader process uses its own HTTP (`reader.http`), which costs less per request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from reader.handler import Reader
from reader.message import HeaderList, Request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Application:
    """ASGI application of the reader. It has no hints: `/v1/events` is not found here.

    Example:
        application = Application(Reader(store, ReportResponder(store, guard), guard))
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's start and stop."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(
            method=scope["method"],
            path=_path(scope),
            query=scope["query_string"].decode("latin-1"),
            fields=HeaderList(_text(pair) for pair in scope["headers"]),
        )
        response = await self._reader.response(request)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.fields]
        body = b"" if request.method == "HEAD" else response.body
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    """Return the path as it was sent, if the server provides it: a percent-encoded path is not a page."""
    sent: bytes = scope.get("raw_path") or b""
    return sent.decode("latin-1") if b"%" in sent else str(scope["path"])


def _text(pair: tuple[bytes, bytes]) -> tuple[str, str]:
    return pair[0].decode("latin-1").lower(), pair[1].decode("latin-1")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
