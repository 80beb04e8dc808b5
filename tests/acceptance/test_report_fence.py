"""The fence of publish.lua, by itself: which set replaces which, whatever the worker that asks for it believes.

A set's state was taken between ``began`` and ``as_of``. It is surely later than the stored one only if it began
after the stored ``as_of``.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

import reports.store

SCRIPT = (Path(reports.store.__file__).parent / "scripts" / "publish.lua").read_text(encoding="utf-8")
KEY = "momentus:{reports}:snapshot:default:sales"
CHANNEL = "momentus:{reports}:changed:default"


@pytest_asyncio.fixture(params=["valkey", "fakeredis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    client: Any = (
        FakeAsyncRedis() if request.param == "fakeredis" else Redis.from_url(request.getfixturevalue("valkey_url"))
    )
    yield client
    await client.aclose()


async def publish(redis: Any, *, began: int, as_of: int, generation: int, body: str) -> list[Any]:
    """One scope changed, another is gone."""
    meta = orjson.dumps({"as_of_us": as_of, "verified_us": began, "valid_until_us": None})
    changed = [1, body, f'{{"etag":"{body}"}}', "", ""]
    arguments = [as_of, began, generation, meta, f"[{as_of}]", CHANNEL, "sales", 0, 0, 1, *changed, "2"]
    return list(await redis.eval(SCRIPT, 1, KEY, *arguments))


@pytest.fixture
async def stored(redis: Any) -> dict[bytes, bytes]:
    """A set as of 5, with both scopes."""
    assert await publish(redis, began=5, as_of=5, generation=0, body="stored") == [b"stored", 1]
    await redis.hset(KEY, mapping={"2": "other", "head:2": "{}", "_error": "{}"})
    await redis.hdel(KEY, "gone:2")
    return dict(await redis.hgetall(KEY))


@pytest.mark.parametrize(
    ("began", "as_of"),
    [
        pytest.param(4, 6, id="began before what is stored was true"),
        pytest.param(5, 6, id="began at that very instant"),
        pytest.param(3, 4, id="older altogether"),
        pytest.param(5, 5, id="the same set once more"),
    ],
)
async def test_a_set_whose_transaction_did_not_begin_after_the_stored_instant_is_superseded_and_changes_nothing(
    redis: Any, stored: dict[bytes, bytes], began: int, as_of: int
) -> None:
    async with redis.pubsub() as listening:
        await listening.subscribe(CHANNEL)
        assert (await listening.get_message(timeout=5))["type"] == "subscribe"
        assert await publish(redis, began=began, as_of=as_of, generation=1, body="late") == [b"superseded"]
        assert await redis.hgetall(KEY) == stored
        await redis.publish(CHANNEL, "nothing was announced before this")
        assert (await listening.get_message(timeout=5))["data"] == b"nothing was announced before this"


async def test_a_set_that_began_after_the_stored_instant_replaces_it(
    redis: Any, stored: dict[bytes, bytes]
) -> None:
    assert await publish(redis, began=6, as_of=7, generation=1, body="newer") == [b"stored", 2]
    found = await redis.hgetall(KEY)
    assert (found[b"1"], found[b"_as_of"], found[b"gone:2"]) == (b"newer", b"7", b"7")
    assert found.keys() == stored.keys() - {b"2", b"_error"} | {b"gone:2"}


async def test_the_fence_comes_before_the_generation(redis: Any, stored: dict[bytes, bytes]) -> None:
    """Whoever is superseded need not find the differences again."""
    assert await publish(redis, began=4, as_of=6, generation=0, body="late") == [b"superseded"]
    assert await publish(redis, began=6, as_of=7, generation=0, body="newer") == [b"moved"]
    assert await redis.hgetall(KEY) == stored
