"""Samples for the console's charts: kept in Redis, so that they outlive a console; against a real Valkey."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from ops.console.samples import KEPT, STORED, SampleLog
from ops.depth.read import Depth, read_depth
from tests.support import OwnValkey


def looked_at(redis: Redis, *, ago_s: float = 0.0) -> Callable[[], Awaitable[Depth]]:
    """A look at the queue as of so long ago."""

    async def read() -> Depth:
        depth = await read_depth(redis, tenant="default")
        return replace(depth, at=depth.at - timedelta(seconds=ago_s))

    return read


async def test_a_console_that_starts_again_goes_on_with_the_samples_of_the_last_hour(redis: Redis) -> None:
    before = SampleLog(redis)
    for ago_s in (5000, 600, 300):
        await before.take_sample(looked_at(redis, ago_s=ago_s))
    await redis.rpush(STORED, "no sample")
    after = SampleLog(redis)
    await after.take_sample(looked_at(redis))
    assert after.samples[:-1] == before.samples[1:], "the oldest is older than an hour"
    await after.take_sample(looked_at(redis))
    assert len(after.samples) == 4, "what is stored is read once"
    assert 0 < await redis.ttl(STORED) <= 7200


async def test_two_consoles_store_a_sample_of_one_time_once_and_a_bounded_number(redis: Redis) -> None:
    one, other = SampleLog(redis), SampleLog(redis)
    await one.take_sample(looked_at(redis))
    await other.take_sample(looked_at(redis))
    assert await redis.llen(STORED) == 1
    await redis.rpush(STORED, *["no sample"] * KEPT)
    await one.take_sample(looked_at(redis, ago_s=-60))
    assert await redis.llen(STORED) == KEPT


async def test_a_user_without_the_right_has_charts_all_the_same_and_is_refused_once(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as admin:
        rules = ["on", ">secret", "~*", "&*", "+@all", "-lpush", "-lindex"]
        await admin.execute_command("ACL", "SETUSER", "looker", *rules)
        async with Redis.from_url(f"redis://looker:secret@127.0.0.1:{valkey.port}/0") as redis:
            log = SampleLog(redis)
            for ago_s in (60, 0):
                await log.take_sample(looked_at(redis, ago_s=ago_s))
        assert len(log.samples) == 2
        assert [entry["count"] for entry in await admin.acl_log()] == [1]
        assert await admin.exists(STORED) == 0


@pytest.mark.parametrize("in_use", [True, False], ids=["key in use", "no memory left"])
async def test_charts_go_on_while_redis_stores_no_sample(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
    in_use: bool,  # noqa: FBT001  a parameter
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis:
        if in_use:
            await redis.set(STORED, "something else")
        else:
            await redis.config_set("maxmemory", "1")
        log = SampleLog(redis)
        for ago_s in (60, 0):
            await log.take_sample(looked_at(redis, ago_s=ago_s))
        assert len(log.samples) == 2
        await (redis.delete(STORED) if in_use else redis.config_set("maxmemory", "0"))
        await log.take_sample(looked_at(redis, ago_s=-60))
        assert await redis.llen(STORED) == 1
