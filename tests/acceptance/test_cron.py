"""Crons: each tick once, however many workers ask, also after its job is done."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from jobs.schedule import Schedule
from producers.envelope import read_envelope
from producers.keys import LaneKeys
from producers.link import Link
from tests.notes import running
from tests.support import eventually
from worker.engine import GiveUp, LaneSlots, Worker
from worker.engine.cron import Cron, CronClock
from worker.engine.handler import handler

LANE = "mail.normal"
KEYS = LaneKeys(LANE)
TICK = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)


def cron(*, overlap: bool = True, schedule: Schedule | None = None) -> Cron:
    return Cron(
        name="tidy",
        schedule=schedule or Schedule(),
        kind="note.take",
        lane=LANE,
        payload={"text": "tidy up"},
        overlap=overlap,
    )


@pytest.fixture
async def clock(valkey_url: str) -> AsyncIterator[CronClock]:
    link = Link(valkey_url)
    yield CronClock(link, [cron()])
    await link.close()


async def finish(redis: Redis) -> None:
    for job_id in await redis.zrange(KEYS.queue, 0, -1):
        await redis.delete(b"arq:job:" + job_id)
    await redis.delete(KEYS.queue)


async def test_a_tick_is_queued_once_however_many_ask_and_also_after_its_job_is_done(
    clock: CronClock, redis: Redis
) -> None:
    assert sorted(await asyncio.gather(*[clock.request_tick(cron(), TICK) for _ in range(20)])) == [0] * 19 + [1]
    assert await redis.zcard(KEYS.queue) == 1
    await finish(redis)
    assert await clock.request_tick(cron(), TICK) == 0
    assert await clock.request_tick(cron(), TICK - timedelta(minutes=1)) == 0
    assert await clock.request_tick(cron(), TICK + timedelta(minutes=1)) == 1


async def test_without_overlap_a_tick_waits_for_the_one_before(clock: CronClock, redis: Redis) -> None:
    alone = cron(overlap=False)
    assert await clock.request_tick(alone, TICK) == 1
    assert await clock.request_tick(alone, TICK + timedelta(minutes=1)) == -1
    await finish(redis)
    assert await clock.request_tick(alone, TICK + timedelta(minutes=2)) == 1
    assert int(await redis.hget(KEYS.counters, f"accepted:{LANE}")) == 2


async def test_ticks_that_were_missed_are_made_up_for_by_one_job(valkey_url: str, redis: Redis) -> None:
    month_ago = datetime.now(UTC) - timedelta(days=30)
    await redis.hset(KEYS.crons, "tidy", str(round(month_ago.timestamp() * 1000)))
    link = Link(valkey_url)
    running = asyncio.create_task(CronClock(link, [cron(schedule=Schedule(hour=0, minute=0))]).run())
    await eventually(lambda: redis.zcard(KEYS.queue))

    async def caught_up() -> bool:
        last = int(await redis.hget(KEYS.crons, "tidy")) / 1000
        return datetime.now(UTC).timestamp() - last < timedelta(days=1).total_seconds()

    await eventually(caught_up)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await link.close()
    (job_id,) = await redis.zrange(KEYS.queue, 0, -1)
    assert orjson.loads(await redis.get(b"arq:job:" + job_id))["k"] == {"text": "tidy up"}


async def test_a_clock_ticks_by_itself(valkey_url: str, redis: Redis) -> None:
    link = Link(valkey_url)
    every_second = cron(schedule=Schedule(second=range(60)))
    clocks = [asyncio.create_task(CronClock(link, [every_second]).run()) for _ in range(3)]

    async def ticks() -> bool:
        return bool(await redis.zcard(KEYS.queue) >= 2)

    await eventually(ticks)
    for clock in clocks:
        clock.cancel()
    await asyncio.gather(*clocks, return_exceptions=True)
    await link.close()
    stamps = [job_id.rpartition(b":")[2] for job_id in await redis.zrange(KEYS.queue, 0, -1)]
    assert len(set(stamps)) == len(stamps)


async def test_a_cron_without_overlap_whose_job_is_dead_runs_again_at_its_next_tick(
    valkey_url: str, redis: Redis
) -> None:
    runs: list[str] = []

    async def fail_once(_: dict[str, Any], text: str) -> None:
        runs.append(text)
        if len(runs) == 1:
            raise GiveUp("the database is away")

    every_second = cron(overlap=False, schedule=Schedule(second=range(60)))
    worker = Worker(
        [handler(fail_once, kind="note.take")],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        crons=[every_second],
        handle_signals=False,
    )
    async with running(worker):
        await eventually(lambda: len(runs) >= 2)
        await eventually(lambda: redis.hget(KEYS.counters, f"done:{LANE}"))
    counted = {name.decode(): int(count) for name, count in (await redis.hgetall(KEYS.counters)).items()}
    assert counted[f"dead:{LANE}"] == counted[f"discarded:{LANE}"] == 1
    assert await redis.zcard(KEYS.dead) == 0
    assert counted[f"accepted:{LANE}"] == counted[f"done:{LANE}"] + 1 + await redis.zcard(KEYS.queue)


async def test_a_payload_that_nothing_runs_holds_no_cron_up(clock: CronClock, redis: Redis) -> None:
    await redis.set("arq:job:{mail}cron:tidy", b"left behind by hand")
    assert await clock.request_tick(cron(overlap=False), TICK) == 1


async def test_a_parked_job_is_not_over(clock: CronClock, redis: Redis) -> None:
    alone = cron(overlap=False)
    assert await clock.request_tick(alone, TICK) == 1
    await redis.hset(KEYS.parked, "{mail}cron:tidy", '{"why": "kind", "needs": "note.take@1", "reason": ""}')
    assert await clock.request_tick(alone, TICK + timedelta(minutes=1)) == -1


async def test_a_tick_whose_note_is_gone_while_its_job_waits_is_noted_again(
    clock: CronClock, redis: Redis
) -> None:
    assert await clock.request_tick(cron(), TICK) == 1
    await redis.delete(KEYS.crons)
    assert await clock.request_tick(cron(), TICK) == 0
    assert int(await redis.hget(KEYS.crons, "tidy")) == round(TICK.timestamp() * 1000)


async def test_a_tick_of_a_clock_that_was_put_back_silences_no_cron(valkey_url: str, redis: Redis) -> None:
    in_ten_years = datetime.now(UTC) + timedelta(days=3650)
    await redis.hset(KEYS.crons, "tidy", str(round(in_ten_years.timestamp() * 1000)))
    link = Link(valkey_url)
    ticking = asyncio.create_task(CronClock(link, [cron(schedule=Schedule(second=range(60)))]).run())
    await eventually(lambda: redis.zcard(KEYS.queue))
    ticking.cancel()
    await asyncio.gather(ticking, return_exceptions=True)
    await link.close()
    assert int(await redis.hget(KEYS.crons, "tidy")) / 1000 < datetime.now(UTC).timestamp() + 1


async def test_a_clock_put_back_by_a_second_queues_no_tick_twice(clock: CronClock, redis: Redis) -> None:
    to_come = datetime.now(UTC) + timedelta(minutes=5)
    await redis.hset(KEYS.crons, "tidy", str(round(to_come.timestamp() * 1000)))
    assert await clock.request_tick(cron(), to_come - timedelta(minutes=5)) == 0


async def test_the_age_of_a_tick_counts_from_when_it_was_queued(clock: CronClock, redis: Redis) -> None:
    assert await clock.request_tick(cron(), TICK - timedelta(days=30)) == 1
    (job_id,) = await redis.zrange(KEYS.queue, 0, -1)
    envelope = read_envelope(await redis.get(b"arq:job:" + job_id))
    seconds, _ = await redis.time()
    assert 0 <= seconds - envelope.since_ms // 1000 < 60
