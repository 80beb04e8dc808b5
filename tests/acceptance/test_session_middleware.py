"""The cookie of an ASGI application: written at log-in, read lazily, taken back at log-out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import closing
from datetime import timedelta
from email.message import Message
from http.client import HTTPConnection
from typing import Any, NamedTuple

import pytest
import uvicorn
from redis.asyncio import Redis

from ops.console.server import listen
from sessions import SessionMiddleware, SessionRefused, Sessions, Visit
from tests.support import eventually

Handle = Callable[[Visit], Awaitable[None]]


@pytest.fixture
async def sessions(valkey_url: str) -> AsyncIterator[Sessions]:
    it = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield it
    await it.close()


async def visit(sessions: Sessions, handle: Handle, cookie: str = "") -> dict[str, str]:
    """One request through the middleware; the cookies that its answer sets, by name."""
    sent: list[MutableMapping[str, Any]] = []

    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        await handle(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nobody reads the body")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"cookie", cookie.encode())] if cookie else []
    await SessionMiddleware(application, sessions)({"type": "http", "headers": headers}, receive, send)
    set_cookies = [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]
    return {one.partition("=")[0]: one.partition("=")[2] for one in set_cookies}


async def log_in(sessions: Sessions, cookie: str = "") -> str:
    async def handle(session: Visit) -> None:
        await session.log_in("u-17", {"roots": [17]}, label="Firefox")

    set_cookies = await visit(sessions, handle, cookie)
    return "__Host-momentus=" + set_cookies["__Host-momentus"].partition(";")[0]


async def test_logging_in_sets_a_cookie_that_no_script_and_no_other_host_can_touch(sessions: Sessions) -> None:
    async def handle(session: Visit) -> None:
        await session.log_in("u-17", {})

    (cookie,) = (await visit(sessions, handle)).values()
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie


async def test_the_next_request_finds_its_session_and_sets_no_cookie(sessions: Sessions) -> None:
    cookie, found = await log_in(sessions), list[str]()

    async def handle(session: Visit) -> None:
        loaded = await session.load()
        found.append(loaded.label if loaded else "")

    assert await visit(sessions, handle, f"a=b; {cookie}") == {}
    assert found == ["Firefox"]


async def test_a_request_that_needs_no_session_asks_redis_nothing(sessions: Sessions, valkey_url: str) -> None:
    cookie = await log_in(sessions)
    async with Redis.from_url(valkey_url) as redis:
        before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]

        async def handle(_session: Visit) -> None:
            pass

        await visit(sessions, handle, cookie)
        assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == before


async def test_logging_in_again_ends_the_session_that_the_browser_had(sessions: Sessions) -> None:
    first = await log_in(sessions)
    await log_in(sessions, first)
    assert await sessions.load(first.partition("=")[2]) is None


async def test_rotating_changes_the_cookie_and_keeps_the_session(sessions: Sessions) -> None:
    cookie = await log_in(sessions)

    async def handle(session: Visit) -> None:
        await session.rotate()

    (after,) = (await visit(sessions, handle, cookie)).values()
    session = await sessions.load(after.partition(";")[0])
    assert session is not None
    assert session.label == "Firefox"


async def test_logging_out_takes_the_cookie_back_and_ends_the_session(sessions: Sessions) -> None:
    cookie = await log_in(sessions)

    async def handle(session: Visit) -> None:
        await session.log_out()
        assert await session.load() is None

    (after,) = (await visit(sessions, handle, cookie)).values()
    assert after.startswith("; Max-Age=0")
    assert await sessions.load(cookie.partition("=")[2]) is None


async def test_saving_without_a_session_says_so(sessions: Sessions) -> None:
    async def handle(session: Visit) -> None:
        with pytest.raises(LookupError, match="log in first"):
            await session.save({})
        with pytest.raises(LookupError, match="log in first"):
            await session.rotate()

    await visit(sessions, handle)


# Whatever answers


class Exchange:
    """One request through the middleware: what was sent, in order, and what the application raised."""

    def __init__(self, application: Any, sessions: Sessions) -> None:
        self._middleware = SessionMiddleware(application, sessions)
        self.sent: list[MutableMapping[str, Any]] = []
        self.raised: Exception | None = None

    async def run(self, cookie: str = "", **scope: Any) -> "Exchange":
        async def receive() -> MutableMapping[str, Any]:
            raise AssertionError("nobody reads the body")

        async def send(message: MutableMapping[str, Any]) -> None:
            self.sent.append(message)

        headers = [(b"cookie", cookie.encode())] if cookie else []
        try:
            await self._middleware({"type": "http", "headers": headers} | scope, receive, send)
        except Exception as error:  # noqa: BLE001  whatever the application raised
            self.raised = error
        return self

    def values(self, name: str) -> list[str]:
        """Of a header of the first message."""
        headers = self.sent[0].get("headers", [])
        return [value.decode() for one, value in headers if one.decode().lower() == name]

    @property
    def token(self) -> str:
        """In the cookie that is set; empty without one."""
        (cookie,) = self.values("set-cookie") or [""]
        return cookie.partition("=")[2].partition(";")[0]


WEBSOCKET = {"type": "websocket", "extensions": {"websocket.http.response": {}}}


@pytest.mark.parametrize("scope", [{}, WEBSOCKET], ids=["http", "websocket"])
async def test_an_application_that_fails_after_a_rotation_still_hands_out_the_new_token(
    sessions: Sessions, scope: dict[str, Any]
) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        await scope["session"].rotate()
        raise ZeroDivisionError

    exchange = await Exchange(application, sessions).run(await log_in(sessions), **scope)
    assert isinstance(exchange.raised, ZeroDivisionError), "the server logs it as ever"
    assert exchange.sent[0]["status"] == 500
    assert [message["type"].rpartition(".")[2] for message in exchange.sent] == ["start", "body"]
    assert await sessions.load(exchange.token) is not None
    assert exchange.values("cache-control") == ["no-store"]


async def test_an_application_that_fails_after_a_log_out_still_takes_the_cookie_back(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        await scope["session"].log_out()
        raise ZeroDivisionError

    exchange = await Exchange(application, sessions).run(await log_in(sessions))
    assert exchange.values("set-cookie")[0].startswith("__Host-momentus=; Max-Age=0")


async def test_an_application_that_never_answers_after_a_log_in_hands_out_the_token(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        await scope["session"].log_in("u-17", {})

    exchange = await Exchange(application, sessions).run()
    assert exchange.sent[0]["status"] == 500
    assert await sessions.load(exchange.token) is not None


async def test_an_error_without_a_cookie_to_set_is_the_servers_to_answer(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        await scope["session"].load()
        raise ZeroDivisionError

    exchange = await Exchange(application, sessions).run(await log_in(sessions))
    assert isinstance(exchange.raised, ZeroDivisionError)
    assert exchange.sent == []


async def test_an_error_in_the_middle_of_a_response_adds_nothing_to_it(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        await scope["session"].rotate()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise ZeroDivisionError

    exchange = await Exchange(application, sessions).run(await log_in(sessions))
    assert isinstance(exchange.raised, ZeroDivisionError)
    assert len(exchange.sent) == 2
    assert await sessions.load(exchange.token) is not None


async def test_nothing_that_needs_a_cookie_happens_once_the_response_has_started(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(SessionRefused, match="response has started"):
            await scope["session"].rotate()
        with pytest.raises(SessionRefused, match="response has started"):
            await scope["session"].log_in("u-17", {})
        await send({"type": "http.response.body", "body": b""})

    cookie = await log_in(sessions)
    exchange = await Exchange(application, sessions).run(cookie)
    assert exchange.raised is None
    assert await sessions.load(cookie.partition("=")[2]) is not None
    assert len(await sessions.sessions_of("u-17")) == 1


async def test_a_websocket_that_is_accepted_takes_the_cookie_along(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        await scope["session"].rotate()
        await send({"type": "websocket.accept", "headers": [(b"x-own", b"1")]})
        await send({"type": "websocket.close"})

    exchange = await Exchange(application, sessions).run(await log_in(sessions), type="websocket")
    assert exchange.values("x-own") == ["1"]
    assert await sessions.load(exchange.token) is not None
    assert exchange.sent[1] == {"type": "websocket.close"}


async def test_a_websocket_that_is_refused_takes_the_cookie_along_where_the_server_can(sessions: Sessions) -> None:
    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        await scope["session"].log_out()
        await send({"type": "websocket.close"})

    refused = await Exchange(application, sessions).run(await log_in(sessions), **WEBSOCKET)
    assert refused.sent[0]["status"] == 403
    assert refused.values("set-cookie")
    plain = await Exchange(application, sessions).run(await log_in(sessions), type="websocket")
    assert plain.sent == [{"type": "websocket.close"}]


# What caches are told


async def caches(sessions: Sessions, handle: Handle, cookie: str = "", *given: tuple[bytes, bytes]) -> list[str]:
    """Cache-Control and Vary of the response."""

    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        await handle(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": list(given)})

    exchange = await Exchange(application, sessions).run(cookie)
    return [*exchange.values("cache-control"), *exchange.values("vary")]


async def load_it(session: Visit) -> None:
    await session.load()


async def test_a_page_that_shows_a_session_is_kept_by_no_cache(sessions: Sessions) -> None:
    assert await caches(sessions, load_it, await log_in(sessions)) == ["no-store", "Cookie"]


async def test_a_page_that_found_no_session_varies_by_the_cookie_and_is_else_as_the_application_says(
    sessions: Sessions,
) -> None:
    cookie = await log_in(sessions)
    await sessions.revoke(cookie.partition("=")[2])
    public = (b"cache-control", b"public, max-age=60")
    assert await caches(sessions, load_it, "", public) == ["public, max-age=60", "Cookie"]
    assert await caches(sessions, load_it, cookie, public) == ["public, max-age=60", "Cookie"]


async def test_a_page_that_asks_for_no_session_is_left_as_it_is(sessions: Sessions) -> None:
    async def asks_nothing(_session: Visit) -> None: ...

    public = (b"cache-control", b"public, max-age=60")
    assert await caches(sessions, asks_nothing, await log_in(sessions), public) == ["public, max-age=60"]


async def test_what_the_application_allows_caches_is_made_private_with_a_session(sessions: Sessions) -> None:
    cookie, public = await log_in(sessions), (b"Cache-Control", b"public, max-age=60")
    given = [public, (b"Vary", b"Accept-Encoding")]
    assert await caches(sessions, load_it, cookie, *given) == ["max-age=60, private", "Accept-Encoding, Cookie"]


@pytest.mark.parametrize("act", ["log_out", "rotate"])
async def test_a_response_that_changes_the_cookie_is_kept_by_no_cache(sessions: Sessions, act: str) -> None:
    async def handle(session: Visit) -> None:
        await getattr(session, act)()

    assert await caches(sessions, handle, await log_in(sessions)) == ["no-store", "Cookie"]


# Behind a real server


@pytest.fixture
async def port(sessions: Sessions) -> AsyncIterator[int]:
    """Of an application that rotates at each request; what it does next is the path."""

    async def application(scope: MutableMapping[str, Any], _receive: object, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await scope["session"].rotate()
        if scope["path"] == "/fails":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(SessionMiddleware(application, sessions), lifespan="off", log_config=None)
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


class Response(NamedTuple):
    status: int
    headers: Message
    body: bytes


async def fetched(port: int, path: str, cookie: str) -> Response:
    def fetch() -> Response | None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            try:
                connection.request("GET", path, headers={"Cookie": cookie})
            except ConnectionRefusedError:  # it is about to listen
                return None
            with connection.getresponse() as response:
                return Response(response.status, response.msg, response.read())

    answer: Response = await eventually(lambda: asyncio.to_thread(fetch))
    return answer


@pytest.mark.parametrize(
    ("path", "status", "body"), [("/fails", 500, b"Internal Server Error"), ("/", 200, b"part" * 3)]
)
async def test_behind_a_real_server_the_browser_gets_the_new_token_with_every_answer(
    sessions: Sessions, port: int, path: str, status: int, body: bytes
) -> None:
    cookie = await log_in(sessions)
    for _ in range(3):
        response = await fetched(port, path, cookie)
        assert (response.status, response.body) == (status, body)
        assert (response.headers["vary"], response.headers["cache-control"]) == ("Cookie", "no-store")
        after = response.headers["set-cookie"].partition(";")[0]
        assert after != cookie
        cookie = after
    assert await sessions.load(cookie.partition("=")[2]) is not None
