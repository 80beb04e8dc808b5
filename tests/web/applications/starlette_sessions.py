"""Plugin for Starlette's own tests of its session middleware: they run on ours, behind an adapter.

Starlette's ``request.session`` is a dict that a cookie holds; ours is a `Visit`, whose session Redis holds. The
adapter loads it before the application and, when the response starts, stores what was changed. `EXCEPTIONS` has
each test that cannot hold, with the reason.
"""

import functools
import os
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from momentus_client.sessions import SessionMiddleware, Sessions, Visit
from starlette.middleware.sessions import Session
from starlette.testclient import TestClient

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

HOST = "the cookie is __Host-momentus: always Secure, for the whole host and no other"
LIFE = "a session has an end, which is stored with it"
EXCEPTIONS = {
    "test_partitioned_session": "the cookie is SameSite=Lax; there is none for pages of other sites",
    "test_secure_session": HOST,
    "test_session_cookie_subpath": HOST,
    "test_domain_cookie": HOST,
    "test_session_expires": LIFE,
    "test_session_cookie": LIFE,
    "test_session_zero_max_age": LIFE,
    "test_session_tracks_modification": "tests Starlette's own dict alone",
}


class DictSessions:
    """Our middleware, for an application that takes ``request.session`` for a dict."""

    def __init__(self, app: Any, secret_key: str) -> None:
        del secret_key
        self._app = app
        sessions = Sessions.connect(os.environ["SHOP_REDIS"], deadline=timedelta(seconds=5))
        self._middleware = SessionMiddleware(self._with_dict, sessions)

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        await self._middleware(scope, receive, send)

    async def _with_dict(self, scope: Message, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit: Visit = scope["session"]
        found = await visit.load()
        session = scope["session"] = Session({} if found is None else dict(found.data))

        async def send_when_stored(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.consulted = session.accessed or session.modified
                await store(visit, session)
            await send(message)

        await self._app(scope, receive, send_when_stored)


async def store(visit: Visit, session: Session) -> None:
    """Store a dict that was changed; an empty one ends the session, as its cookie would be deleted."""
    if not session.modified:
        return
    if not session:
        await visit.log_out()
    elif await visit.load() is None:
        fortnight = timedelta(days=14)
        await visit.log_in("visitor", dict(session), idle=fortnight, absolute=fortnight)
    else:
        await visit.save(dict(session))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = getattr(item, "originalname", item.name)
        if reason := EXCEPTIONS.get(name):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put our middleware where the module has Starlette's."""
    monkeypatch.setattr(request.module, "SessionMiddleware", DictSessions)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def test_client_factory(anyio_backend: str) -> Callable[..., TestClient]:
    """Clients of a site with TLS, in place of the fixture of Starlette's tests."""
    return functools.partial(TestClient, backend=anyio_backend, base_url="https://testserver")
