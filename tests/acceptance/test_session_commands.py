"""`./run ops sessions`: who is logged in where, and log them out; no token is ever shown."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sessions import Sessions
from tests.command_line import run_ops


@pytest.fixture
async def sessions(valkey_url: str) -> AsyncIterator[Sessions]:
    it = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    yield it
    await it.close()


async def ops(valkey_url: str, *words: str) -> tuple[int, str, str]:
    return await run_ops("sessions", *words, REDIS_URL=valkey_url)


async def test_a_users_sessions_are_listed_without_any_token(sessions: Sessions, valkey_url: str) -> None:
    token, session = await sessions.create("u-17", {"roots": [1]}, label="Firefox")
    code, out, _ = await ops(valkey_url, "list", "u-17")
    assert code == 0
    assert "Firefox" in out
    assert session.place.digest[:12] in out
    assert token not in out
    code, out, _ = await ops(valkey_url, "list", "u-17", "--json")
    assert json.loads(out)["sessions"][0]["label"] == "Firefox"
    assert token not in out


async def test_one_session_or_all_of_a_user_are_ended(sessions: Sessions, valkey_url: str) -> None:
    first, session = await sessions.create("u-17", {})
    second, _ = await sessions.create("u-17", {})
    assert (await ops(valkey_url, "revoke", "u-17", "--session", session.place.digest[:12]))[0] == 0
    assert await sessions.load(first) is None
    assert await sessions.load(second) is not None
    assert (await ops(valkey_url, "revoke", "u-17"))[0] == 0
    assert await sessions.load(second) is None


async def test_a_session_that_is_not_named_for_sure_is_refused(sessions: Sessions, valkey_url: str) -> None:
    await sessions.create("u-17", {})
    code, _, err = await ops(valkey_url, "revoke", "u-17", "--session", "nothing")
    assert code == 2
    assert "exactly one" in err
    assert (await ops(valkey_url, "list", "nobody"))[0] == 1
