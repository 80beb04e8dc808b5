"""Sessions for ASGI applications (Starlette, FastAPI, Django's ASGI): reads and sets the cookie, loads lazily.

    scope["session"]   a Visit: no request to Redis until the application loads the session

A new cookie goes out with the response: the application's, the acceptance or rejection of a websocket, or, when
the application fails before its response starts, a plain 500 made here. The application's error still reaches the
server. Once the response has started, `Visit` raises on calls that need a cookie. For a websocket that fails
before it was accepted, the cookie is sent only if the server supports the extension ``websocket.http.response``.

Responses that read or set a session carry cache headers: see :mod:`.response_headers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .cookie import SessionCookie, choose_cookie
from .response_headers import with_session_headers
from .store import Sessions
from .visit import Visit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_HTTP = {"http": "http.response", "websocket": "websocket.http.response"}
"""Prefix of a response's ASGI messages, by the type of the scope."""


class SessionMiddleware:
    """ASGI middleware that sets ``scope["session"]`` to a `Visit` for every HTTP request and websocket.

    Args:
        application: the ASGI application behind the middleware.
        sessions: the store of the sessions.
        insecure_cookie: True for tests over http on this machine: a cookie without `Secure`, under another name.

    Raises (for a request):
        InsecureCookieRefused: `insecure_cookie` is set, and the request's host is not a loopback host.

    Example:
        application = SessionMiddleware(application, Sessions.connect("redis://127.0.0.1:6379/0"))
    """

    def __init__(self, application: Application, sessions: Sessions, *, insecure_cookie: bool = False) -> None:
        self._application = application
        self._sessions = sessions
        self._insecure_cookie = insecure_cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        form = _cookie_of(scope, insecure=self._insecure_cookie)
        visit = Visit(self._sessions, _token(scope, form.name), form)
        scope["session"] = visit
        response = _ResponseHead(scope, visit, send)
        try:
            await self._application(scope, receive, response.send)
        except Exception:
            await response.complete()
            raise
        await response.complete()


class _ResponseHead:
    """The head of one response: carries the cookie and the cache headers."""

    def __init__(self, scope: Scope, visit: Visit, send: Send) -> None:
        self._visit = visit
        self._send = send
        self._kind = _HTTP[scope["type"]]
        extensions = scope.get("extensions") or {}
        self._can_refuse = scope["type"] == "http" or self._kind in extensions

    async def send(self, message: Message) -> None:
        """Send a message of the application to the server."""
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
        """Send the middleware's own response if the application set a cookie and then failed or sent none."""
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

    def _headers(self, given: Any) -> list[tuple[bytes, bytes]]:  # noqa: ANN401  any iterable of pairs, see ASGI
        headers = [(bytes(name), bytes(value)) for name, value in given]
        visit = self._visit
        return with_session_headers(
            headers, consulted=visit.consulted, personal=visit.personal, cookie=visit.cookie
        )


def header_of(scope: Scope, name: str) -> str | None:
    """Return a header field of a request, the first of its name, or None."""
    wanted = name.encode("ascii")
    found = (value for key, value in scope["headers"] if key.lower() == wanted)
    value = next(found, None)
    return None if value is None else str(value.decode("latin-1"))


def _cookie_of(scope: Scope, *, insecure: bool) -> SessionCookie:
    server = scope.get("server") or ("", None)
    return choose_cookie(
        insecure=insecure,
        secure_scheme=scope.get("scheme") in {"https", "wss"},
        host=(header_of(scope, "host") or "") if insecure else "",
        server=str(server[0]) if server[1] is not None else "",
        header=lambda name: header_of(scope, name),
    )


def _token(scope: Scope, cookie: str) -> str | None:
    """Return the token in the cookie; if the name occurs twice, the first one."""
    for name, value in scope["headers"]:
        if name.lower() != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, _, token = pair.partition("=")
            if key.strip() == cookie:
                return str(token.strip())
    return None
