"""Producer and sessions of a Flask application: an extension with `init_app`.

The producer and the sessions belong to the application. They may be made before a fork (``gunicorn --preload``)
and under gevent: each process opens its own connections. `flask.session` stays as it is; the login is
`current_visit()`, under a cookie of its own.

Every request that changes something and was caused by a page of another site is rejected (403); an unavailable
Redis gives 503, unless the application has its own handlers for `NotEnqueued` and `SessionsUnavailable`.

Example:
    momentus = Momentus()

    def create_app() -> Flask:
        app = Flask(__name__)
        app.config["MOMENTUS_REDIS_URL"] = "redis://127.0.0.1:6379/0"
        momentus.init_app(app)
        return app
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, current_app, g, jsonify, request
from momentus_client.jobs import load_mail_libraries
from momentus_client.producers import NotEnqueued, SyncProducer
from momentus_client.sessions import Session, SessionsUnavailable, SyncSessions, SyncVisit
from momentus_client.sessions.cookie import choose_cookie
from momentus_client.sessions.cross_origin import checked_origins, is_cross_origin
from momentus_client.sessions.response_headers import with_session_headers
from momentus_client.sessions.sync import SyncEpochs
from werkzeug.exceptions import Forbidden as HTTPForbidden, Unauthorized

URL_SETTING = "MOMENTUS_REDIS_URL"
_EXTENSION = "momentus"
_VISIT = "_momentus_visit"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class NotInstalled(RuntimeError):
    """The application has no `Momentus`, or no address of Redis; the text says what to do."""


class NotLoggedIn(Unauthorized):
    """Response 401: the request has no live session. An application may handle it, for example by a redirect."""

    description = "log in first"


class Forbidden(HTTPForbidden):
    """Response 403: the user is logged in and may not do this, or a page of another site sent the request."""


@dataclass
class MomentusState:
    """Producer, sessions and settings of an application, in ``app.extensions["momentus"]``.

    Attributes:
        insecure_cookie: True for tests over http on this machine: a cookie without `Secure`. Requests for a host
            that is not a loopback host raise `InsecureCookieRefused`.
        trusted_origins: other sites whose pages may send requests that change something.
    """

    producer: SyncProducer = field(repr=False)
    sessions: SyncSessions = field(repr=False)
    insecure_cookie: bool = False
    trusted_origins: frozenset[str] = frozenset()


class Momentus:
    """Flask extension.

    Args:
        app: application to initialise at once; otherwise call :meth:`init_app`.
        url: address of Redis, as in `SyncProducer.connect`; by default ``app.config["MOMENTUS_REDIS_URL"]``.
        sessions_url: address for the sessions; by default the same.
        tenant, budget: as in `SyncProducer.connect`.
        epochs: as in `SyncSessions.connect`.
        insecure_cookie, trusted_origins: as in `MomentusState`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        url: str | None = None,
        sessions_url: str | None = None,
        tenant: str = "default",
        budget: float = 0.1,
        epochs: SyncEpochs | None = None,
        insecure_cookie: bool = False,
        trusted_origins: Collection[str] = (),
    ) -> None:
        self._url, self._sessions_url = url, sessions_url
        self._tenant, self._budget, self._epochs = tenant, budget, epochs
        self._insecure_cookie, self._trusted_origins = insecure_cookie, checked_origins(trusted_origins)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up the producer and sessions of an application; they connect at their first call.

        Also loads what mails need, so that no request has to: the views that send some may be imported later.

        Call it before the application registers ``after_request`` functions that set `Cache-Control`: Flask calls
        them in reverse order, and this extension's should be last.

        Raises:
            NotInstalled: no address is given.
            ValueError: the address is malformed; the text does not quote its password.
        """
        url = self._url or app.config.get(URL_SETTING)
        if not url:
            raise NotInstalled(f"{URL_SETTING}: app.config has none; set it, or give Momentus(url=...)")
        app.extensions[_EXTENSION] = MomentusState(
            SyncProducer.connect(url, tenant=self._tenant, budget=self._budget),
            SyncSessions.connect(self._sessions_url or url, epochs=self._epochs),
            self._insecure_cookie,
            self._trusted_origins,
        )
        load_mail_libraries()
        app.before_request(_reject_cross_origin)
        app.after_request(_complete)
        for error in (NotEnqueued, SessionsUnavailable):
            app.error_handler_spec[None][None].setdefault(error, _unavailable)

    @property
    def producer(self) -> SyncProducer:
        """The current application's producer."""
        return _state().producer

    @property
    def sessions(self) -> SyncSessions:
        """The current application's sessions, for example to list or end all sessions of a user."""
        return _state().sessions


def current_visit() -> SyncVisit:
    """Return the request's session with its cookie: load, log in, save, rotate, log out."""
    visit = g.get(_VISIT)
    if visit is None:
        state = _state()
        form = choose_cookie(
            insecure=state.insecure_cookie,
            secure_scheme=request.is_secure,
            host=request.headers.get("Host", ""),
            server="",
            header=request.headers.get,
        )
        visit = SyncVisit(state.sessions, request.cookies.get(form.name), form)
        setattr(g, _VISIT, visit)
    found: SyncVisit = visit
    return found


def current_session() -> Session | None:
    """Return the request's session, or None if no user is logged in. Raises SessionsUnavailable."""
    return current_visit().load()


def require_session() -> Session:
    """Return the request's session. Raises NotLoggedIn (401), SessionsUnavailable."""
    session = current_session()
    if session is None:
        raise NotLoggedIn
    return session


def login_required(view: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a view: without a live session the response is 401.

    Example:
        @app.get("/account")
        @login_required
        def account() -> str:
            return require_session().user
    """
    return session_required(lambda _: True)(view)


def session_required(
    allows: Callable[[Session], bool], reason: str = "not allowed for this user"
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Decorate a view: the response is 401 without a live session, and 403 if it does not pass a check.

    Args:
        allows: returns True if the user may do this.
        reason: text of the response 403.

    Example:
        @app.get("/management")
        @session_required(lambda session: bool(session.data.get("roots")))
        def management() -> str: ...
    """

    def decorate(view: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @wraps(view)
        def guarded(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
            if not allows(require_session()):
                raise Forbidden(reason)
            result: Result = current_app.ensure_sync(view)(*arguments, **options)
            return result

        return guarded

    return decorate


def _state() -> MomentusState:
    state = current_app.extensions.get(_EXTENSION)
    if not isinstance(state, MomentusState):
        raise NotInstalled(
            "momentus: is not installed in this application; call `momentus.init_app(app)` where it is created"
        )
    return state


def _reject_cross_origin() -> None:
    if is_cross_origin(request.method, request.headers.get, _state().trusted_origins):
        raise Forbidden("the request comes from a page of another site")


def _complete(response: Response) -> Response:
    """Add the cookie and the cache header fields to a response that used the session."""
    visit = g.get(_VISIT)
    if visit is not None:
        visit.answered = True
        given = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        fields = with_session_headers(
            given, consulted=visit.consulted, personal=visit.personal, cookie=visit.cookie
        )
        response.headers.clear()
        for name, value in fields:
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return response


def _unavailable(_error: Exception) -> Any:  # noqa: ANN401  any form of a response
    return jsonify(error="temporarily unavailable; repeat the request"), 503, {"Retry-After": "1"}
