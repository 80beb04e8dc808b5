"""The cookie of an ASGI application: written at log-in, read lazily, taken back at log-out."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from sessions import SessionMiddleware, Sessions, Visit

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
