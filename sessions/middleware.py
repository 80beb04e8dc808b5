"""Sessions for ASGI applications (Starlette, FastAPI, Django's ASGI): the cookie read and written, loaded lazily.

    scope["session"]   a Visit: nothing is asked of Redis until the application asks for the session

A cookie that is to be set goes with whatever answers: the application's response, the acceptance or refusal of a
websocket, or, when the application fails before its response starts, a plain 500 of this file. The error still
goes on to the server. Once the response has started, `Visit` refuses what needs a cookie. A websocket that fails
before it was accepted takes the cookie along only where the server knows the extension
``websocket.http.response``.

Responses that read or set a session tell caches so: see :mod:`.response_headers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .response_headers import keep_from_shared_caches, vary_by_cookie
from .store import Sessions
from .visit import COOKIE, Visit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_HTTP = {"http": "http.response", "websocket": "websocket.http.response"}
"""How a response is called, by the kind of request."""


class SessionMiddleware:
    """Gives every HTTP request and websocket a `Visit` as ``scope["session"]``.

    Example:
        application = SessionMiddleware(application, Sessions.connect("redis://127.0.0.1:6379/0"))
    """

    def __init__(self, application: Application, sessions: Sessions) -> None:
        self._application = application
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        visit = Visit(self._sessions, _token(scope))
        scope["session"] = visit
        response = _Response(scope, visit, send)
        try:
            await self._application(scope, receive, response.send)
        except Exception:
            await response.complete()
            raise
        await response.complete()


class _Response:
    """The head of one response: it carries the cookie and what caches need to know."""

    def __init__(self, scope: Scope, visit: Visit, send: Send) -> None:
        self._visit = visit
        self._send = send
        self._kind = _HTTP[scope["type"]]
        extensions = scope.get("extensions") or {}
        self._can_refuse = scope["type"] == "http" or self._kind in extensions

    async def send(self, message: Message) -> None:
        """Pass a message of the application on."""
        if self._visit.answered:
            await self._send(message)
        elif message["type"] in {f"{self._kind}.start", "websocket.accept"}:
            self._visit.answered = True
            await self._send({**message, "headers": self._headers(message.get("headers", []))})
        elif message["type"] == "websocket.close" and self._must_tell:
            await self._refuse(403, b"Forbidden")
        else:
            await self._send(message)

    async def complete(self) -> None:
        """Answer in place of an application that failed, or never answered, while a cookie waits to be set."""
        if self._must_tell and not self._visit.answered:
            await self._refuse(500, b"Internal Server Error")

    @property
    def _must_tell(self) -> bool:
        return self._visit.cookie is not None and self._can_refuse

    async def _refuse(self, status: int, body: bytes) -> None:
        length = str(len(body)).encode("ascii")
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        await self.send({"type": f"{self._kind}.start", "status": status, "headers": headers})
        await self.send({"type": f"{self._kind}.body", "body": body})

    def _headers(self, given: Any) -> list[tuple[bytes, bytes]]:  # noqa: ANN401  any iterable of pairs, as ASGI has it
        headers = [(bytes(name), bytes(value)) for name, value in given]
        if self._visit.consulted or self._visit.cookie is not None:
            headers = vary_by_cookie(headers)
        if self._visit.personal:
            headers = keep_from_shared_caches(headers)
        if self._visit.cookie is not None:
            headers.append((b"set-cookie", self._visit.cookie.encode("ascii")))
        return headers


def _token(scope: Scope) -> str | None:
    """The token in the cookie; of a name given twice the first counts."""
    for name, value in scope["headers"]:
        if name.lower() != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, _, token = pair.partition("=")
            if key.strip() == COOKIE:
                return str(token.strip())
    return None
