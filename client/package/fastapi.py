"""Producer and sessions of a FastAPI application: a lifespan, dependencies, and the session of each request.

`Momentus.install` adds a middleware, so that mounted applications and websockets have the dependencies too. It
rejects requests that another site made a browser send (403), and turns an unavailable Redis into 503, unless the
application has its own handlers for `NotEnqueued` and `SessionsUnavailable`.

Example:
    momentus = Momentus.connect("redis://127.0.0.1:6379/0")
    app = FastAPI(lifespan=momentus.lifespan)
    momentus.install(app)

    @app.post("/tasks/{task}/assign")
    async def assign(task: int, producer: JobProducer, session: LoggedIn) -> str:
        mail = Mail(to="ana@example.com", subject="Cierre", text=f"Asignada por {session.user}")
        return (await producer.send(mail, key=f"task:{task}:assigned")).id
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyCookie
from momentus_client.producers import NotEnqueued, Producer
from momentus_client.sessions import Session, SessionMiddleware, Sessions, SessionsUnavailable, Visit
from momentus_client.sessions.cookie import SECURE
from momentus_client.sessions.cross_origin import checked_origins, is_cross_origin
from momentus_client.sessions.middleware import header_of
from momentus_client.sessions.operations import DEADLINE
from momentus_client.sessions.store import Epochs
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

_MAILS = "momentus_client.jobs.mail.message"
_SCOPE = "momentus_client"
_UNAVAILABLE = {"detail": "temporarily unavailable; repeat the request"}
_CROSS_ORIGIN = {"detail": "the request comes from a page of another site"}


class NotInstalled(RuntimeError):
    """A dependency was used in an application without `Momentus.install`."""


class NotLoggedIn(HTTPException):
    """Response 401: the request has no live session. An application may handle it, for example by a redirect."""

    def __init__(self) -> None:
        super().__init__(401, "log in first", {"WWW-Authenticate": 'Cookie realm="momentus"'})


class Forbidden(HTTPException):
    """Response 403: the user is logged in and may not do this."""

    def __init__(self, reason: str = "not allowed for this user") -> None:
        super().__init__(403, reason)


class Momentus:
    """Producer and sessions of an application; see :meth:`connect`.

    Args:
        producer: queues the application's jobs.
        sessions: store of the logins.
        insecure_cookie: True for tests over http on this machine: a cookie without `Secure`. Requests for a host
            that is not a loopback host raise `InsecureCookieRefused`.
        trusted_origins: other sites whose pages may send requests that change something, for example
            ``https://app.example.com``.

    The attributes of these names may be replaced in tests; the fixture ``momentus_in_memory`` does.
    """

    def __init__(
        self,
        producer: Producer,
        sessions: Sessions,
        *,
        insecure_cookie: bool = False,
        trusted_origins: Collection[str] = (),
    ) -> None:
        self.producer = producer
        self.sessions = sessions
        self.insecure_cookie = insecure_cookie
        self.trusted_origins = checked_origins(trusted_origins)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        sessions_url: str | None = None,
        tenant: str = "default",
        budget: float = 0.1,
        deadline: timedelta = DEADLINE,
        epochs: Epochs | None = None,
        insecure_cookie: bool = False,
        trusted_origins: Collection[str] = (),
    ) -> Momentus:
        """Return a producer and sessions with their own connections, which open at the first call.

        Args:
            url: address of Redis, as in `Producer.connect`.
            sessions_url: address for the sessions; by default the same.
            tenant, budget: as in `Producer.connect`.
            deadline, epochs: as in `Sessions.connect`.
            insecure_cookie, trusted_origins: as above.

        Raises:
            ValueError: an address is malformed; the text does not quote its password.
        """
        return cls(
            Producer.connect(url, tenant=tenant, budget=budget),
            Sessions.connect(sessions_url or url, deadline=deadline, epochs=epochs),
            insecure_cookie=insecure_cookie,
            trusted_origins=trusted_origins,
        )

    def install(self, app: FastAPI) -> None:
        """Add the middleware and the error handlers. Call it before the application starts.

        Call it last: the middleware that is added last sees a request first, and the session should be known to
        the application's own middlewares.
        """
        app.add_middleware(_Middleware, momentus=self)
        for error in (NotEnqueued, SessionsUnavailable):
            app.exception_handlers.setdefault(error, _unavailable)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Load what mails need before the first request, and close the connections when the application ends.

        An application that imports no `Mail` loads nothing. Within another lifespan: ``async with``.

        Example:
            @asynccontextmanager
            async def lifespan(app: FastAPI) -> AsyncIterator[None]:
                async with momentus.lifespan(app), create_pool(dsn) as pool:
                    yield
        """
        _load_what_mails_need()
        try:
            yield
        finally:
            await self.producer.close()
            await self.sessions.close()


def _load_what_mails_need() -> None:
    if _MAILS in sys.modules:
        from momentus_client.jobs import load_mail_libraries  # noqa: PLC0415  it loads Mail too

        load_mail_libraries()


class _Middleware:
    """ASGI middleware: gives the request its `Momentus` and its session, and rejects cross-origin requests."""

    def __init__(self, app: ASGIApp, momentus: Momentus) -> None:
        self._app = app
        self._momentus = momentus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif self._is_cross_origin(scope):
            await _reject(scope, receive, send)
        else:
            momentus = scope[_SCOPE] = self._momentus
            within = SessionMiddleware(self._app, momentus.sessions, insecure_cookie=momentus.insecure_cookie)
            await within(scope, receive, send)

    def _is_cross_origin(self, scope: Scope) -> bool:
        method = scope.get("method", "WEBSOCKET")
        return is_cross_origin(method, lambda name: header_of(scope, name), self._momentus.trusted_origins)


async def _reject(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": _CROSS_ORIGIN["detail"]})
    else:
        await JSONResponse(_CROSS_ORIGIN, 403)(scope, receive, send)


async def _unavailable(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse(_UNAVAILABLE, 503, {"Retry-After": "1"})


def _installed(connection: HTTPConnection) -> Momentus:
    found = connection.scope.get(_SCOPE)
    if not isinstance(found, Momentus):
        raise NotInstalled(
            "momentus: is not installed in this application; call `momentus.install(app)` where it is created"
        )
    return found


async def current_producer(connection: HTTPConnection) -> Producer:
    """Return the application's producer; the dependency of `JobProducer`."""
    return _installed(connection).producer


async def current_sessions(connection: HTTPConnection) -> Sessions:
    """Return the store of the sessions; the dependency of `SessionStore`."""
    return _installed(connection).sessions


async def current_visit(connection: HTTPConnection) -> Visit:
    """Return the request's session and cookie; the dependency of `CurrentVisit`."""
    _installed(connection)
    visit: Visit = connection.scope["session"]
    return visit


class _CookieScheme(APIKeyCookie):
    """Description of the cookie in OpenAPI; the cookie itself is read by the middleware."""

    async def __call__(self, _connection: HTTPConnection) -> None:
        """Do nothing; exists so that websockets have the dependency too."""


_COOKIE = _CookieScheme(name=SECURE.name, scheme_name="session", auto_error=False)

JobProducer = Annotated[Producer, Depends(current_producer)]
"""The application's producer, as the type of a path function's argument."""
SessionStore = Annotated[Sessions, Depends(current_sessions)]
"""The store of the sessions: all sessions of a user, ends of sessions."""
CurrentVisit = Annotated[Visit, Depends(current_visit)]
"""The request's session with its cookie: log in, save, rotate, log out."""


async def current_session(visit: CurrentVisit, _cookie: Annotated[None, Security(_COOKIE)]) -> Session | None:
    """Return the request's session, or None; the dependency of `MaybeLoggedIn`."""
    return await visit.load()


MaybeLoggedIn = Annotated[Session | None, Depends(current_session)]
"""The request's session, or None if no user is logged in."""


async def live_session(session: MaybeLoggedIn) -> Session:
    """Return the request's session; the dependency of `LoggedIn`. Raises NotLoggedIn."""
    if session is None:
        raise NotLoggedIn
    return session


LoggedIn = Annotated[Session, Depends(live_session)]
"""The request's session; without one the response is 401."""


def session_that(
    allows: Callable[[Session], bool], reason: str = "not allowed for this user"
) -> Callable[..., Awaitable[Session]]:
    """Return a dependency: the request's session if it passes a check, else 401 or 403.

    Args:
        allows: returns True if the user may do this.
        reason: text of the response 403.

    Example:
        Manager = Annotated[Session, Depends(session_that(lambda session: bool(session.data.get("roots"))))]
    """

    async def allowed_session(session: LoggedIn) -> Session:
        if not allows(session):
            raise Forbidden(reason)
        return session

    return allowed_session


__all__ = [
    "CurrentVisit",
    "Forbidden",
    "JobProducer",
    "LoggedIn",
    "MaybeLoggedIn",
    "Momentus",
    "NotInstalled",
    "NotLoggedIn",
    "SessionStore",
    "current_producer",
    "current_session",
    "current_sessions",
    "current_visit",
    "live_session",
    "session_that",
]
