"""Sessions for ASGI applications (Starlette, FastAPI, Django's ASGI): the cookie read and written, loaded lazily.

    scope["session"]   a Visit: nothing is asked of Redis until the application asks for the session

The cookie is `__Host-momentus`: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain (RFC 6265bis, 4.1.3.2), so that
no other host, and no script, can set or read it. It is written when the application logs in, out, or rotates.

A Redis that is away is SessionsUnavailable in the application; answer 503.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import timedelta
from typing import Any

from .calls import ABSOLUTE, IDLE, SERVICE_USER
from .session import Session
from .store import Sessions

COOKIE = "__Host-momentus"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Lax"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Visit:
    """One request's session: loaded when first asked for, and what the cookie becomes.

    Attributes:
        token: as the browser sent it, or as it will be told; None when it has none.
    """

    def __init__(self, sessions: Sessions, token: str | None) -> None:
        self._sessions = sessions
        self._session: Session | None = None
        self._loaded = token is None
        self.token = token
        self.cookie: str | None = None
        """The Set-Cookie header of the answer, if there is to be one."""

    async def load(self) -> Session | None:
        """The person's session, None without one; asks Redis once a request. Raises SessionsUnavailable.

        A machine's token opens reports, not an application that people use.
        """
        if not self._loaded and self.token is not None:
            found = await self._sessions.load(self.token)
            self._session = None if found is None or found.user == SERVICE_USER else found
            self._loaded = True
        return self._session

    async def log_in(
        self,
        user: str,
        data: Mapping[str, Any],
        *,
        label: str = "",
        idle: timedelta = IDLE,
        absolute: timedelta = ABSOLUTE,
        cap: int = 0,
    ) -> Session:
        """A new session under a new token; one that the browser had is ended (session fixation).

        Raises SessionRefused, SessionsUnavailable.
        """
        token, session = await self._sessions.create(
            user, data, label=label, idle=idle, absolute=absolute, cap=cap
        )
        if self.token is not None:
            await self._sessions.revoke(self.token)
        self._become(token, session)
        return session

    async def save(self, data: Mapping[str, Any]) -> Session:
        """New data. Raises as `Sessions.save`, and LookupError when there is no session."""
        session = await self.load()
        if session is None:
            raise LookupError("this request has no session: log in first")
        self._session = await self._sessions.save(session, data)
        return self._session

    async def rotate(self) -> None:
        """A new token for the same session. Raises SessionGone, SessionsUnavailable; LookupError without one."""
        if self.token is None:
            raise LookupError("this request has no session: log in first")
        rotated = await self._sessions.rotate(self.token)
        if rotated is not None:
            self._become(*rotated)

    async def log_out(self) -> None:
        """End the session and take the cookie back. Raises SessionsUnavailable."""
        if self.token is not None:
            await self._sessions.revoke(self.token)
        self.token, self._session, self._loaded = None, None, True
        self.cookie = f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"

    def _become(self, token: str, session: Session) -> None:
        self.token, self._session, self._loaded = token, session, True
        life = int((session.expires_at - session.created_at).total_seconds())
        self.cookie = f"{COOKIE}={token}; Max-Age={life}; {_ATTRIBUTES}"


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

        async def with_cookie(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"} and visit.cookie is not None:
                headers = [*message.get("headers", []), (b"set-cookie", visit.cookie.encode("ascii"))]
                message = {**message, "headers": headers}
            await send(message)

        await self._application(scope, receive, with_cookie)


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
