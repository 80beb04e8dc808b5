"""A session's other tokens: rotation, the list of a user's sessions, the cap on them; asyncio and not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from sessions import SessionGone, SessionRefused, Sessions, SyncSessions
from tests.support import eventually

GENEROUS = timedelta(seconds=10)


@pytest_asyncio.fixture(params=("valkey", "fakeredis"))
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    client: Redis = (
        FakeAsyncRedis(version=(7,))
        if request.param == "fakeredis"
        else Redis.from_url(request.getfixturevalue("valkey_url"))
    )
    yield client
    await client.flushdb()
    await client.aclose()


@pytest.fixture
def sessions(redis: Redis) -> Sessions:
    return Sessions(redis, deadline=GENEROUS)


async def test_a_rotated_session_is_the_same_one_under_a_new_token(sessions: Sessions) -> None:
    old, created = await sessions.create("u-17", {"roots": [1]}, label="Firefox")
    rotated = await sessions.rotate(old)
    assert rotated is not None
    token, session = rotated
    assert token != old
    assert (session.data, session.label, session.expires_at) == (created.data, created.label, created.expires_at)
    assert await sessions.load(token) == session
    assert [one.place for one in await sessions.sessions_of("u-17")] == [session.place]


async def test_the_old_token_goes_on_for_the_grace_and_no_longer(sessions: Sessions) -> None:
    old, _ = await sessions.create("u-17", {"roots": [1]})
    rotated = await sessions.rotate(old, grace=timedelta(milliseconds=300))
    assert rotated is not None
    found = await sessions.load(old)
    assert found is not None
    assert found.place == rotated[1].place

    async def ended() -> bool:
        return await sessions.load(old) is None

    assert await eventually(ended)
    assert await sessions.load(rotated[0]) is not None


async def test_without_grace_the_old_token_ends_at_once(sessions: Sessions) -> None:
    old, _ = await sessions.create("u-17", {})
    assert await sessions.rotate(old, grace=timedelta(0)) is not None
    assert await sessions.load(old) is None


async def test_of_requests_that_rotate_at_once_one_gets_the_new_token(sessions: Sessions) -> None:
    old, _ = await sessions.create("u-17", {})
    answers = await asyncio.gather(*(sessions.rotate(old) for _ in range(20)))
    assert sum(answer is not None for answer in answers) == 1
    assert len(await sessions.sessions_of("u-17")) == 1


async def test_what_was_saved_with_the_old_token_is_there_under_the_new_one(sessions: Sessions) -> None:
    old, _ = await sessions.create("u-17", {"n": 1})
    rotated = await sessions.rotate(old)
    assert rotated is not None
    found = await sessions.load(old)
    assert found is not None
    await sessions.save(found, {"n": 2})
    after = await sessions.load(rotated[0])
    assert after is not None
    assert after.data == {"n": 2}


async def test_a_save_by_somebody_who_loaded_before_the_rotation_is_refused_not_lost_in_silence(
    sessions: Sessions,
) -> None:
    old, loaded = await sessions.create("u-17", {"n": 1})
    await sessions.rotate(old)
    with pytest.raises(SessionGone):
        await sessions.save(loaded, {"n": 2})


async def test_a_logged_out_session_cannot_be_rotated_back(sessions: Sessions) -> None:
    token, _ = await sessions.create("u-17", {})
    await sessions.revoke(token)
    for gone in (token, "no token at all"):
        with pytest.raises(SessionGone):
            await sessions.rotate(gone)


async def test_logging_out_with_the_old_token_ends_the_session(sessions: Sessions) -> None:
    old, _ = await sessions.create("u-17", {})
    rotated = await sessions.rotate(old)
    assert rotated is not None
    assert await sessions.revoke(old)
    assert await sessions.load(rotated[0]) is None
    assert await sessions.sessions_of("u-17") == []


async def test_ending_all_sessions_of_a_user_ends_rotated_ones_too(sessions: Sessions) -> None:
    old, _ = await sessions.create("u-17", {})
    rotated = await sessions.rotate(old)
    assert rotated is not None
    await sessions.revoke_user("u-17")
    assert await sessions.load(old) is None
    assert await sessions.load(rotated[0]) is None


async def test_a_user_sees_their_devices_and_ends_one(sessions: Sessions) -> None:
    for label in ("Firefox", "Phone"):
        await sessions.create("u-17", {}, label=label)
    await sessions.create("u-18", {}, label="other")
    listed = await sessions.sessions_of("u-17")
    assert {one.label for one in listed} == {"Firefox", "Phone"}
    phone = next(one for one in listed if one.label == "Phone")
    assert await sessions.revoke_listed("u-17", phone.place.digest)
    assert [one.label for one in await sessions.sessions_of("u-17")] == ["Firefox"]


async def test_over_the_cap_the_sessions_that_would_end_first_are_ended(sessions: Sessions) -> None:
    tokens = [
        (await sessions.create("u-17", {}, absolute=timedelta(days=day), idle=timedelta(days=day), cap=3))[0]
        for day in (3, 1, 2, 4, 5)
    ]
    alive = [await sessions.load(token) is not None for token in tokens]
    assert alive == [True, False, False, True, True]


async def test_a_new_session_is_never_the_one_that_its_own_cap_ends(sessions: Sessions) -> None:
    await sessions.create("u-17", {}, absolute=timedelta(days=7), cap=1)
    token, _ = await sessions.create("u-17", {}, absolute=timedelta(days=1), cap=1)
    assert await sessions.load(token) is not None
    assert len(await sessions.sessions_of("u-17")) == 1


@pytest.mark.parametrize("cap", [-1, 101])
async def test_a_cap_that_is_none_is_refused(sessions: Sessions, cap: int) -> None:
    with pytest.raises(SessionRefused, match="cap"):
        await sessions.create("u-17", {}, cap=cap)


async def test_code_without_asyncio_shares_the_same_sessions(valkey_url: str) -> None:
    plain, waiting = SyncSessions.connect(valkey_url, deadline=GENEROUS), Sessions.connect(valkey_url)
    token, created = plain.create("u-17", {"roots": [17]}, label="script")
    assert await waiting.load(token) == created
    saved = plain.save(created, {"roots": [18]})
    assert await waiting.load(token) == saved
    rotated = plain.rotate(token)
    assert rotated is not None
    assert [one.label for one in plain.sessions_of("u-17")] == ["script"]
    assert plain.revoke(rotated[0])
    assert plain.load(token) is None
    plain.revoke_user("u-17")
    plain.close()
    await waiting.close()
