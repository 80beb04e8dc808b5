"""A session's other tokens: rotation, the list of a user's sessions, the cap on them; asyncio and not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from sessions import SERVICE_USER, SessionConflict, SessionGone, SessionRefused, Sessions, SyncSessions
from sessions.token import place_of, user_key
from tests.session_tokens import TOKENS, awaitable, check_operations
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


@pytest.mark.parametrize("state", TOKENS, ids=lambda state: state.__name__)
async def test_a_token_can_do_what_its_state_allows(sessions: Sessions, state: Any) -> None:
    await check_operations(sessions, state)


@pytest.mark.parametrize("state", TOKENS, ids=lambda state: state.__name__)
async def test_a_token_can_do_the_same_without_asyncio(valkey_url: str, state: Any) -> None:
    with closing(SyncSessions.connect(valkey_url, deadline=GENEROUS)) as sessions:
        await check_operations(awaitable(sessions), state)


async def test_a_conflict_across_a_rotation_names_where_the_session_is_now(sessions: Sessions) -> None:
    old, loaded = await sessions.create("u-17", {"n": 1})
    rotated = await sessions.rotate(old)
    assert rotated is not None
    await sessions.save(rotated[1], {"n": 2})
    with pytest.raises(SessionConflict) as conflict:
        await sessions.save(loaded, {"n": 9})
    assert conflict.value.current.place == rotated[1].place
    assert (await sessions.save(conflict.value.current, {"n": 3})).data == {"n": 3}


async def test_a_later_rotation_ends_the_grace_of_all_tokens_before_it(sessions: Sessions) -> None:
    """More rights, and no token from before may have them."""
    first, _ = await sessions.create("u-17", {})
    second = await sessions.rotate(first)
    assert second is not None
    assert await sessions.rotate(second[0], grace=timedelta(0)) is not None
    assert [await sessions.load(token) for token in (first, second[0])] == [None, None]


async def test_a_longer_life_of_its_key_lengthens_no_grace(sessions: Sessions, redis: Redis) -> None:
    old, _ = await sessions.create("u-17", {})
    assert await sessions.rotate(old, grace=timedelta(milliseconds=30)) is not None
    place = place_of(old)
    assert place is not None
    await redis.persist(place.session_key)

    async def ended() -> bool:
        return await sessions.load(old) is None

    assert await eventually(ended)
    assert await redis.exists(place.session_key), "it was not Redis that ended it"
    with pytest.raises(SessionGone):
        await sessions.rotate(old)
    assert not await sessions.revoke(old)


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


async def test_a_session_that_idled_out_takes_nobodys_place_under_the_cap(sessions: Sessions) -> None:
    mine, _ = await sessions.create("u-17", {}, absolute=timedelta(days=1))
    for _ in range(3):
        token, _ = await sessions.create("u-17", {}, idle=timedelta(milliseconds=1))
        await eventually(lambda token=token: is_gone(sessions, token))
    other, _ = await sessions.create("u-17", {}, cap=2)
    assert [await sessions.load(token) is not None for token in (mine, other)] == [True, True]


async def test_sessions_that_ended_hide_no_living_one_from_the_list(sessions: Sessions, redis: Redis) -> None:
    _, living = await sessions.create("u-17", {}, absolute=timedelta(days=1))
    ends = int(living.expires_at.timestamp() * 1000)
    await redis.zadd(user_key("u-17"), {f"{number:064x}": ends + 1 + number for number in range(250)})
    assert [one.place for one in await sessions.sessions_of("u-17")] == [living.place]
    assert await redis.zcard(user_key("u-17")) == 1


async def test_service_tokens_are_counted_by_those_that_live_however_many_are_made_at_once(
    sessions: Sessions, redis: Redis
) -> None:
    made = [await sessions.create_service("board", [1], lasts=timedelta(days=90)) for _ in range(98)]
    await redis.zadd(user_key(SERVICE_USER), {f"{number:064x}": 9e15 for number in range(5)})
    more = await asyncio.gather(
        *(sessions.create_service("board", [1], lasts=timedelta(days=90)) for _ in range(6)),
        return_exceptions=True,
    )
    refused = [one for one in more if isinstance(one, SessionRefused)]
    assert len(refused) == 4
    assert "100 sessions" in str(refused[0])
    await sessions.revoke(made[0][0])
    await sessions.create_service("board", [1], lasts=timedelta(days=90))


async def is_gone(sessions: Sessions, token: str) -> bool:
    return await sessions.load(token) is None


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
