"""A Redis that lost its data: limits return before anything is claimed, and operators see the loss."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from structlog.testing import capture_logs

from ops.depth.read import DataLoss, read_depth
from ops.depth.table import depth_table
from ops.doctor.checks_queue import judge_depth
from ops.losses import acknowledge_losses
from producers import Producer
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.notes import LANE, Note, running
from tests.support import OwnValkey, eventually
from worker.engine import LaneLimit, LaneSlots, Limit, Window, Worker
from worker.engine.handler import handler

KEYS = LaneKeys(LANE)
HOUR = timedelta(hours=1)
ACCOUNT = Limit("account:main", (Window(3, HOUR),))


@asynccontextmanager
async def working(url: str, begun: list[str], *, limited: bool = False) -> AsyncIterator[Worker]:
    async def take(_: dict[str, Any], text: str) -> None:
        begun.append(text)

    limits: dict[str, Any] = (
        {"limits": [ACCOUNT], "lane_limits": {LANE: LaneLimit((ACCOUNT.key,))}} if limited else {}
    )
    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, 10)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        grace=timedelta(0),
        **limits,
    )
    async with running(worker):
        yield worker


async def losses(redis: Redis) -> tuple[DataLoss, ...]:
    return (await read_depth(redis, tenant="default")).losses


async def used_up(redis: Redis) -> bool:
    lane = (await read_depth(redis, tenant="default")).lane(LANE)
    assert lane is not None
    return lane.ready == 7 and lane.limits.used_up


async def test_no_job_is_claimed_without_the_limits_that_a_flush_took_away(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    begun: list[str] = []
    async with working(valkey_url, begun, limited=True):
        for round_ in (1, 2):
            await producer.send_many([Note(f"{round_}: {number}") for number in range(10)])
            await eventually(lambda: used_up(redis))
            assert len(begun) == 3 * round_
            await redis.flushall()


async def test_limits_come_back_where_only_the_scripts_stayed(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with working(valkey_url, [], limited=True):
        await producer.send(Note("first"))
        await eventually(lambda: redis.hexists(KEYS.limits, ACCOUNT.key))
        await redis.delete(KEYS.dataset, KEYS.limits)
        await eventually(lambda: redis.hexists(KEYS.limits, ACCOUNT.key))


async def test_a_flush_is_told_with_the_number_of_jobs_until_people_acknowledge_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    with capture_logs() as said:
        async with working(valkey_url, []) as worker:
            for number in range(5):
                await producer.send(Note(str(number)), delay=HOUR)
            await eventually(lambda: worker.data[KEYS.tag].unfinished == 5)
            await redis.flushall()
            (loss,) = await eventually(lambda: losses(redis))
        assert (loss.group, loss.times, loss.jobs) == (KEYS.tag, 1, 5)
        assert any(entry["event_name"] == "redis.data_lost" for entry in said)

        depth = await read_depth(redis, tenant="default")
        assert "DATA LOST" in depth_table(depth)
        assert "redis.data_lost" in {one.code for one in judge_depth(depth) if one.severity == "wrong"}
        assert (await run_ops("depth", "--json", REDIS_URL=valkey_url))[0] == 1

        assert (await run_ops("acknowledge-loss", REDIS_URL=valkey_url))[0] == 0
        assert await losses(redis) == ()
        assert (await run_ops("depth", REDIS_URL=valkey_url))[0] == 0
        assert await acknowledge_losses(redis) == {}


async def test_a_loss_that_two_workers_notice_is_counted_once(valkey_url: str, redis: Redis) -> None:
    async with working(valkey_url, []) as one, working(valkey_url, []) as other:
        await eventually(lambda: one.data[KEYS.tag].id == other.data[KEYS.tag].id != "")
        await redis.flushall()
        await eventually(lambda: losses(redis))
        new = (await redis.hget(KEYS.dataset, "id")).decode()
        await eventually(lambda: one.data[KEYS.tag].id == other.data[KEYS.tag].id == new)
        (loss,) = await losses(redis)
        assert loss.times == 1


async def test_an_empty_redis_at_the_start_is_no_loss(valkey_url: str, redis: Redis, producer: Producer) -> None:
    begun: list[str] = []
    async with working(valkey_url, begun):
        await producer.send(Note("first"))
        await eventually(lambda: begun)
    async with working(valkey_url, begun):
        await producer.send(Note("second"))
        await eventually(lambda: len(begun) == 2)
    assert await losses(redis) == ()


async def test_a_restart_with_its_data_is_no_loss(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> None:
    valkey, begun = await own_valkey("--appendonly", "yes", "--appendfsync", "always"), list[str]()
    async with working(valkey.url, begun), Producer.connect(valkey.url, budget=5) as producer:
        await producer.send(Note("before"))
        await eventually(lambda: begun)
        await valkey.restart()
        await producer.send(Note("after"))
        await eventually(lambda: len(begun) == 2)
        async with Redis.from_url(valkey.url) as redis:
            assert await losses(redis) == ()
