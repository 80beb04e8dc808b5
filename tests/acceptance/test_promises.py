"""Promises of service: each minute is judged once, a time without workers too, and depth shows what is left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail
from metrics.promise import Promise, read_promises
from ops.depth.promises import PromiseState
from ops.depth.read import read_depth
from ops.depth.table import depth_table
from producers import Producer
from producers.keys import LaneKeys
from reports.keys import snapshot
from worker.promises import PromiseKeeper

ROOT = Path(__file__).resolve().parents[2]
BULK = Promise("mail.bulk", timedelta(minutes=5), 0.99)
SALES = Promise("report/sales", timedelta(minutes=5), 0.9)
STATE = "momentus:{mail}:promises"
OF_REPORTS = "momentus:{reports}:promises"


@asynccontextmanager
async def keeper(url: str, *promises: Promise) -> AsyncIterator[PromiseKeeper]:
    one = PromiseKeeper(url, promises, tenant="default")
    try:
        yield one
    finally:
        await one.close()


async def now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def judged_until(redis: Redis, promise: Promise, minutes: int) -> None:
    """As if the last look had been so many minutes ago."""
    state = f"momentus:{{{promise.group}}}:promises"
    await redis.hset(state, f"{promise.name}:minute", await now_ms(redis) // 60_000 - minutes)  # type: ignore[arg-type]


async def state_of(redis: Redis, name: str) -> PromiseState | None:
    states = (await read_depth(redis, tenant="default")).promises
    return next((one for one in states if one.name == name), None)


async def waiting(redis: Redis, producer: Producer, minutes: float) -> None:
    """A mail that has been ready for so long."""
    receipt = await producer.send(Mail(to="ana@example.com", subject="Hola", text="Hola", urgency="bulk"))
    await redis.zadd(LaneKeys("mail.bulk").queue, {receipt.id: await now_ms(redis) - round(minutes * 60_000)})


async def test_a_minute_is_judged_once_however_many_workers_look(valkey_url: str, redis: Redis) -> None:
    async with keeper(valkey_url, BULK) as one, keeper(valkey_url, BULK) as other:
        assert await one.note_minutes(BULK) == 0
        await judged_until(redis, BULK, 10)
        took = await asyncio.gather(*(each.note_minutes(BULK) for each in (one, other, one, other)))
    assert sum(took) in {10, 11}, "11 where a minute began meanwhile"
    state = await state_of(redis, "mail.bulk")
    assert state is not None
    assert (state.kept, state.broken) == (sum(took), 0)
    assert (state.limit_ms, state.target, state.budget_left) == (300_000, 0.99, 1)


@pytest.mark.parametrize(("waited", "broken"), [(3, 0), (8, 3), (60, 20)])
async def test_a_time_without_workers_is_judged_by_the_age_of_what_waits(
    valkey_url: str, redis: Redis, producer: Producer, waited: int, broken: int
) -> None:
    await waiting(redis, producer, waited)
    await judged_until(redis, BULK, 20)
    async with keeper(valkey_url, BULK) as one:
        judged = await one.note_minutes(BULK)
    state = await state_of(redis, "mail.bulk")
    assert state is not None
    assert state.kept + state.broken == judged
    assert broken <= state.broken <= broken + 1, "one more where a minute began meanwhile"
    assert bool(state.burn_hour) is bool(broken)


async def test_a_job_that_was_too_old_between_two_minutes_breaks_the_one_in_which_it_was_seen(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with keeper(valkey_url, BULK) as one:
        await one.note_minutes(BULK)
        await waiting(redis, producer, 6)
        await one.note_minutes(BULK)
        await redis.delete(LaneKeys("mail.bulk").queue)
        seen = int(await redis.hget(STATE, "mail.bulk:seen") or 0)
        await redis.hset(STATE, "mail.bulk:seen", str(seen - 1))
        await judged_until(redis, BULK, 1)
        await one.note_minutes(BULK)
    state = await state_of(redis, "mail.bulk")
    assert state is not None
    assert state.broken_in_all >= 1


@pytest.mark.parametrize(
    ("age_minutes", "broken"),
    [(1, 0), (9, 4), (None, 10), ("junk", 10)],
)
async def test_a_report_breaks_its_promise_when_it_is_too_old_or_was_never_computed(
    valkey_url: str, redis: Redis, age_minutes: Any, broken: int
) -> None:
    offset_us = 3_600_000_000
    if isinstance(age_minutes, int):
        verified_us = (await now_ms(redis) - age_minutes * 60_000) * 1000 + offset_us
        meta = orjson.dumps({"verified_us": verified_us, "clock_offset_us": offset_us})
        await redis.hset(snapshot("default", "sales"), "_meta", meta.decode())
    elif age_minutes:
        await redis.hset(snapshot("default", "sales"), "_meta", "[1")
    await judged_until(redis, SALES, 10)
    async with keeper(valkey_url, SALES) as one:
        await one.note_minutes(SALES)
    state = await state_of(redis, "report/sales")
    assert state is not None
    assert broken <= state.broken <= broken + 1


async def test_depth_shows_the_budget_that_is_left_and_the_burn_rates_in_both_languages(redis: Redis) -> None:
    minute = await now_ms(redis) // 60_000
    of_lane = {"limit": 60_000, "target": 0.99, "minute": minute, "kept": 99_000, "broken": 1_000}
    await redis.hset(STATE, mapping={f"mail.urgent:{field}": str(value) for field, value in of_lane.items()})
    await redis.hset(
        f"{STATE}:d{minute // 1440}", mapping={"mail.urgent:kept": "1000", "mail.urgent:broken": "216"}
    )
    await redis.hset(f"{STATE}:h{minute // 60}", mapping={"mail.urgent:kept": "54", "mail.urgent:broken": "6"})
    depth = await read_depth(redis, tenant="default")
    (state,) = depth.promises
    assert (state.budget_left, state.burn_hour, state.burn_six_hours) == (0.5, 10, 10)
    assert (state.kept_in_all, state.broken_in_all) == (99_000, 1_000)
    assert depth.to_json()["promises"][0]["name"] == "mail.urgent"
    assert "mail.urgent: oldest ready job at most 1 min in 99% of the time" in (told := depth_table(depth))
    assert "; 50% of the error budget of 30 days is left, burn rate 10 (1 h), 10 (6 h)" in told
    assert "queda el 50% del margen de error de 30 días" in depth_table(depth, "es")


async def test_a_promise_that_is_no_longer_noted_or_unreadable_is_left_out(redis: Redis) -> None:
    minute = await now_ms(redis) // 60_000
    kept = {"limit": "1", "target": "0.9", "minute": str(minute)}
    for name, changes in {
        "mail.old": {"minute": str(minute - 2000)},
        "mail.junk": {"target": "x"},
        "mail.whole": {"target": "1"},
        "mail.less": {"kept": "x"},
        "mail.fine": {},
    }.items():
        fields = {f"{name}:{field}": value for field, value in (kept | changes).items()}
        await redis.hset(STATE, mapping=fields)
    assert [one.name for one in (await read_depth(redis, tenant="default")).promises] == ["mail.fine"]


@pytest.mark.parametrize(
    "text",
    ["mail.bulk", "mail.bulk:1h", "mail.bulk:1h:100", "mail.bulk:0s:99", "mail.bulk:1h:0", "Mail:1h:9", "a:x:9"],
)
def test_what_is_no_promise_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition(":")[0]):
        read_promises(text)


def test_a_promise_about_the_same_lane_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        read_promises("mail.bulk:1h:99, mail.bulk:2h:99.9")
