"""The promises of shared sessions, on a real server and on fakeredis: the same scripts, the same answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast

import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from hypothesis import HealthCheck, given, settings, strategies as st
from redis.asyncio import BlockingConnectionPool, Redis

from sessions import (
    Session,
    SessionConflict,
    SessionGone,
    SessionRefused,
    Sessions,
    SessionsUnavailable,
)
from sessions.token import new_token, place_of, user_key
from tests.support import eventually

BACKENDS = ("valkey", "fakeredis")
GENEROUS = timedelta(seconds=10)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def redis(backend: str, request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    client: Redis = (
        FakeAsyncRedis(version=(7,))
        if backend == "fakeredis"
        else Redis.from_url(request.getfixturevalue("valkey_url"))
    )
    yield client
    await client.flushdb()
    await client.aclose()


@pytest.fixture
def sessions(redis: Redis) -> Sessions:
    return Sessions(redis, deadline=GENEROUS)


async def test_a_session_is_found_by_its_token_with_all_that_was_put_in(sessions: Sessions) -> None:
    data = {"roots": [17, 2**63 - 1], "locale": "es", "nombre": "José «Pepe»", "nested": {"a": [None, 1.5]}}
    token, created = await sessions.create("u-17", data, label="Firefox", idle=timedelta(minutes=30))

    loaded = await sessions.load(token)

    assert loaded == created
    assert loaded is not None
    assert (loaded.user, loaded.data, loaded.label, loaded.version) == ("u-17", data, "Firefox", 1)
    assert loaded.idle == timedelta(minutes=30)
    assert loaded.expires_at - loaded.created_at == timedelta(days=7)
    assert abs(loaded.created_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_no_two_logins_share_a_token(sessions: Sessions) -> None:
    tokens = {(await sessions.create("u-17", {}))[0] for _ in range(20)}
    assert len(tokens) == 20


async def test_the_raw_token_is_nowhere_in_the_database(sessions: Sessions, redis: Redis) -> None:
    token, session = await sessions.create("u-17", {"roots": [1]}, label="Firefox")
    await sessions.save(session, {"roots": [1, 2]})
    secret = token.rsplit(".", 1)[1].encode()

    stored = b"\n".join([part async for part in _everything(redis)])

    assert place_of(token) is not None
    assert session.place.digest.encode() in stored, "the scan looks at the right place"
    assert secret not in stored
    assert secret.decode() not in repr(session)


async def _everything(redis: Redis) -> AsyncIterator[bytes]:
    """Every key and every value, whatever its type."""
    async for key in redis.scan_iter():
        yield key
        kind = await redis.type(key)
        if kind == b"hash":
            fields = await cast("Awaitable[dict[bytes, bytes]]", redis.hgetall(key))
            for part in (*fields.keys(), *fields.values()):
                yield part
        elif kind == b"zset":
            for member in await redis.zrange(key, 0, -1):
                yield member
        else:
            yield await redis.get(key)


async def test_a_logged_out_session_cannot_be_resurrected_by_a_late_save(sessions: Sessions, redis: Redis) -> None:
    token, session = await sessions.create("u-17", {})
    assert await sessions.revoke(token)

    with pytest.raises(SessionGone):
        await sessions.save(session, {"roots": [1]})

    assert await sessions.load(token) is None
    assert not await redis.exists(session.place.session_key)


async def test_a_second_logout_changes_nothing_and_says_so(sessions: Sessions) -> None:
    token, _ = await sessions.create("u-17", {})
    assert [await sessions.revoke(token), await sessions.revoke(token)] == [True, False]


async def test_logout_ends_one_session_and_spares_the_others_of_the_user(sessions: Sessions) -> None:
    laptop, _ = await sessions.create("u-17", {"on": "laptop"})
    phone, _ = await sessions.create("u-17", {"on": "phone"})
    await sessions.revoke(laptop)
    assert await sessions.load(laptop) is None
    survivor = await sessions.load(phone)
    assert survivor is not None
    assert survivor.data == {"on": "phone"}


async def test_all_sessions_of_a_user_end_at_once_and_nobody_elses(sessions: Sessions, redis: Redis) -> None:
    leaver = [await sessions.create("u-17", {}) for _ in range(5)]
    other, _ = await sessions.create("u-18", {})

    await sessions.revoke_user("u-17")

    assert not await redis.exists(user_key("u-17"))
    assert [await sessions.load(token) for token, _ in leaver] == [None] * 5
    assert await sessions.load(other) is not None
    with pytest.raises(SessionGone):
        await sessions.save(leaver[0][1], {})


async def test_ending_all_holds_even_for_a_session_the_index_has_lost(sessions: Sessions, redis: Redis) -> None:
    token, _ = await sessions.create("u-17", {})
    await redis.delete(user_key("u-17"))
    await sessions.revoke_user("u-17")
    assert await sessions.load(token) is None


async def test_a_user_whose_sessions_were_ended_can_log_in_again(sessions: Sessions) -> None:
    for _ in range(3):
        await sessions.revoke_user("u-17")
        token, session = await sessions.create("u-17", {})
        assert await sessions.load(token) == session


async def test_a_stale_save_is_refused_with_what_is_there_now(sessions: Sessions) -> None:
    _, loaded = await sessions.create("u-17", {"cart": []})
    saved = await sessions.save(loaded, {"cart": ["first"]})

    with pytest.raises(SessionConflict) as conflict:
        await sessions.save(loaded, {"cart": ["second"]})

    assert conflict.value.current == saved
    assert (saved.version, saved.data) == (2, {"cart": ["first"]})


async def test_concurrent_saves_lose_no_update(sessions: Sessions) -> None:
    token, session = await sessions.create("u-17", {"seen": []})

    await asyncio.gather(*(_append(sessions, session, number) for number in range(20)))

    after = await sessions.load(token)
    assert after is not None
    assert sorted(after.data["seen"]) == list(range(20))
    assert after.version == 21


async def _append(sessions: Sessions, session: Session, number: int) -> None:
    while True:
        try:
            await sessions.save(session, {"seen": [*session.data["seen"], number]})
        except SessionConflict as conflict:
            session = conflict.current
        else:
            return


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["save", "load", "revoke", "revoke_user", "create"]),
            st.integers(0, 3),
            st.sampled_from(["u-1", "u-2"]),
        ),
        max_size=30,
    )
)
async def test_any_history_of_operations_agrees_with_a_plain_model(
    sessions: Sessions, steps: list[tuple[str, int, str]]
) -> None:
    """The model: a dictionary of the living. Old copies are saved on purpose, ended ones touched again."""
    copies: list[tuple[str, Session]] = []
    alive: dict[str, tuple[str, int]] = {}
    for step, (action, pick, user) in enumerate(steps):
        if action == "create" or not copies:
            token, session = await sessions.create(user, {"step": step})
            copies.append((token, session))
            alive[token] = (user, 1)
        elif action == "revoke_user":
            await sessions.revoke_user(user)
            alive = {token: state for token, state in alive.items() if state[0] != user}
        else:
            token, session = copies[pick % len(copies)]
            await _apply(sessions, action, token, session, alive, step)
    for token, _ in copies:
        loaded = await sessions.load(token)
        assert (loaded and (loaded.user, loaded.version)) == alive.get(token)


async def _apply(
    sessions: Sessions,
    action: str,
    token: str,
    session: Session,
    alive: dict[str, tuple[str, int]],
    step: int,
) -> None:
    if action == "revoke":
        assert await sessions.revoke(token) is (alive.pop(token, None) is not None)
    elif action == "load":
        assert (await sessions.load(token) is not None) is (token in alive)
    elif token not in alive:
        with pytest.raises(SessionGone):
            await sessions.save(session, {"step": step})
    elif alive[token][1] != session.version:
        with pytest.raises(SessionConflict):
            await sessions.save(session, {"step": step})
    else:
        await sessions.save(session, {"step": step})
        alive[token] = (session.user, session.version + 1)


async def test_a_session_left_idle_ends(sessions: Sessions, redis: Redis) -> None:
    token, session = await sessions.create("u-17", {}, idle=timedelta(minutes=30))
    assert 0 < await redis.pttl(session.place.session_key) <= 30 * 60_000
    await _age(redis, session, timedelta(minutes=30))

    async def expired() -> bool:
        return not await redis.exists(session.place.session_key)

    assert await eventually(expired)
    assert await sessions.load(token) is None
    with pytest.raises(SessionGone):
        await sessions.save(session, {})


async def test_an_idle_session_that_redis_does_not_expire_ends_all_the_same(
    sessions: Sessions, redis: Redis
) -> None:
    token, session = await sessions.create("u-17", {}, idle=timedelta(minutes=30))
    await _age(redis, session, timedelta(minutes=30))
    await redis.persist(session.place.session_key)
    with pytest.raises(SessionGone):
        await sessions.save(session, {})
    with pytest.raises(SessionGone):
        await sessions.rotate(token)
    assert await sessions.load(token) is None
    assert not await redis.exists(session.place.session_key), "an ended session is deleted when it is met"


async def test_a_longer_life_of_the_key_is_a_use_of_the_session(sessions: Sessions, redis: Redis) -> None:
    """A reader has no right to write a session's fields; it slides the idle limit by the time to live."""
    token, session = await sessions.create("u-17", {}, idle=timedelta(minutes=30))
    await _age(redis, session, timedelta(minutes=29))
    await redis.pexpire(session.place.session_key, 30 * 60_000)

    (listed,) = await sessions.sessions_of("u-17")
    loaded = await sessions.load(token)

    assert loaded is not None
    assert abs(loaded.touched_at - session.touched_at) < timedelta(minutes=1)
    assert abs(listed.touched_at - session.touched_at) < timedelta(minutes=1)


async def test_a_session_in_use_is_carried_past_its_idle_limit_with_one_write_a_minute(
    sessions: Sessions, redis: Redis
) -> None:
    token, session = await sessions.create("u-17", {}, idle=timedelta(minutes=30))
    assert await sessions.load(token) == session, "a touch within the minute writes nothing"

    await _age(redis, session, timedelta(minutes=29))
    touched = await sessions.load(token)

    assert touched is not None
    assert touched.touched_at > session.touched_at - timedelta(minutes=1)
    assert await redis.pttl(session.place.session_key) > 29 * 60_000


async def test_no_use_carries_a_session_past_its_absolute_limit(sessions: Sessions, redis: Redis) -> None:
    token, session = await sessions.create("u-17", {}, idle=timedelta(hours=12), absolute=timedelta(minutes=10))
    assert await redis.pttl(session.place.session_key) <= 10 * 60_000
    await _put(redis, session, "a", "1")
    with pytest.raises(SessionGone):
        await sessions.save(session, {})
    assert await sessions.load(token) is None


async def _put(redis: Redis, session: Session, field: str, value: str) -> None:
    await cast("Awaitable[int]", redis.hset(session.place.session_key, field, value))


async def _age(redis: Redis, session: Session, span: timedelta) -> None:
    """Pretend that the session was last used `span` ago."""
    touched = session.touched_at - span
    await _put(redis, session, "t", str(int(touched.timestamp() * 1000)))
    left = max(session.idle - span, timedelta(milliseconds=100))
    await redis.pexpire(session.place.session_key, left)


async def test_the_index_of_a_user_holds_living_sessions_only_and_ends_with_the_last(
    sessions: Sessions, redis: Redis
) -> None:
    index = user_key("u-17")
    await redis.zadd(index, {"long-expired": 1})
    token, session = await sessions.create("u-17", {})
    assert await redis.zrange(index, 0, -1) == [session.place.digest.encode()]
    assert 0 < await redis.pttl(index) <= 7 * 24 * 3600 * 1000
    await sessions.revoke(token)
    assert not await redis.exists(index)


def _slot(key: str) -> str:
    return key[key.index("{") : key.index("}") + 1]


async def test_all_keys_of_a_user_lie_in_one_cluster_slot(sessions: Sessions, redis: Redis) -> None:
    await sessions.revoke_user("{odd}user")
    await sessions.create("{odd}user", {})
    await sessions.create("{odd}user", {})
    keys = [key.decode() async for key in redis.scan_iter()]
    assert len(keys) == 4
    assert all(_slot(one) == _slot(other) for one, other in pairwise(keys))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "ms1.",
        "ms2.9370e9b2." + "A" * 43,
        "ms1.9370e9b2." + "A" * 42,
        "ms1.9370e9b2." + "A" * 44,
        "ms1.9370E9B2." + "A" * 43,
        "ms1.9370e9b2." + "A" * 43 + "\n",
        "ms1.9370e9b2." + "é" * 43,
        "ms1.{x}" + "A" * 50,
        "\x00" * 56,
    ],
)
async def test_a_malformed_token_is_nobody_without_asking_redis(text: str) -> None:
    nowhere = Sessions.connect("redis://127.0.0.1:1/0")
    assert await nowhere.load(text) is None
    assert await nowhere.revoke(text) is False
    await nowhere.close()


async def test_an_unknown_token_is_nobody(sessions: Sessions) -> None:
    assert await sessions.load(new_token("u-17")) is None


@pytest.mark.parametrize(
    ("user", "data", "options", "word"),
    [
        ("", {}, {}, "user"),
        ("x" * 256, {}, {}, "user"),
        ("\ud800", {}, {}, "user"),
        ("u", {}, {"label": "x" * 256}, "label"),
        ("u", {}, {"idle": timedelta(0)}, "idle"),
        ("u", {}, {"absolute": timedelta.max}, "absolute"),
        ("u", {1: "number as a key"}, {}, "JSON"),
        ("u", {"when": datetime(2026, 1, 1, tzinfo=UTC)}, {}, "JSON"),
        ("u", {"large": "x" * 65_536}, {}, "65536"),
    ],
)
async def test_what_cannot_be_a_session_is_refused_and_nothing_is_written(
    sessions: Sessions,
    redis: Redis,
    user: str,
    data: dict[str, object],
    options: dict[str, object],
    word: str,
) -> None:
    with pytest.raises(SessionRefused, match=word):
        await sessions.create(user, data, **options)  # type: ignore[arg-type]
    assert await redis.dbsize() == 0


async def test_a_record_that_is_not_ours_is_an_error_not_a_login(sessions: Sessions, redis: Redis) -> None:
    token, session = await sessions.create("u-17", {})
    await _put(redis, session, "d", "[1, 2]")
    with pytest.raises(SessionsUnavailable, match="not a session record"):
        await sessions.load(token)


async def test_a_client_that_decodes_its_replies_reads_the_same_session(valkey_url: str) -> None:
    client = Redis.from_url(valkey_url, decode_responses=True)
    sessions = Sessions(client, deadline=GENEROUS)
    token, session = await sessions.create("u-17", {"roots": [1]})
    assert await sessions.load(token) == session
    assert (await sessions.save(session, {})).version == 2
    await sessions.close()


async def test_scripts_survive_a_server_that_forgot_them(sessions: Sessions, redis: Redis) -> None:
    token, _ = await sessions.create("u-17", {})
    await redis.script_flush()
    assert await sessions.load(token) is not None


async def test_with_redis_away_nobody_is_let_in() -> None:
    nowhere = Sessions.connect("redis://127.0.0.1:1/0", deadline=GENEROUS)
    for operation in (
        nowhere.load(new_token("u-17")),
        nowhere.revoke(new_token("u-17")),
        nowhere.revoke_user("u-17"),
        nowhere.create("u-17", {}),
    ):
        with pytest.raises(SessionsUnavailable):
            await operation
    await nowhere.close()


async def test_a_stalled_redis_is_given_up_and_its_late_answers_reach_only_their_askers(
    valkey_url: str,
) -> None:
    """The server takes commands and answers none for a while; every caller is told so meanwhile."""
    client = Redis.from_pool(BlockingConnectionPool.from_url(valkey_url, max_connections=2, timeout=10))
    hasty = Sessions(client, deadline=timedelta(milliseconds=50))
    patient = Sessions(client, deadline=GENEROUS)
    tokens = {user: (await patient.create(user, {}))[0] for user in ("u-1", "u-2", "u-3")}
    async with Redis.from_url(valkey_url) as admin:
        await admin.client_pause(500)
        given_up = await asyncio.gather(*map(hasty.load, tokens.values()), return_exceptions=True)
    assert [type(answer) for answer in given_up] == [SessionsUnavailable] * 3

    for _ in range(10):
        for user, token in tokens.items():
            session = await patient.load(token)
            assert session is not None
            assert session.user == user
    await client.aclose()
