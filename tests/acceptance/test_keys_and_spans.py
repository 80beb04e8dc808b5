"""A key stands as long as its job, and spans count by Redis's clock, whatever the backend's shows."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobs import Digest, Mail
from jobs.policy import Policy
from ops.jobs.operations import discard_job, revive_job
from producers import Producer
from producers.compose import Composer
from producers.entry import JobEntry, enqueue
from producers.envelope import read_envelope, write_envelope
from producers.keys import LaneKeys
from producers.operation import script_source
from tests.counts import count_of
from tests.model.clock import step_clock
from tests.model.wire import Wire
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import GiveUp, LaneSlots, Park, Worker
from worker.engine.handler import handler

KEYS = LaneKeys(LANE)
DAY = timedelta(days=1)
OFF = [timedelta(minutes=-20), timedelta(minutes=20), timedelta(days=-400)]
"""How far a backend's clock may be from Redis's."""


@dataclass(frozen=True)
class ShortNote(Note):
    """One that is worth running for ten minutes."""

    kind: ClassVar[str] = Note.kind
    life: ClassVar[timedelta] = timedelta(minutes=10)


@pytest.fixture
def pass_time(valkey_url: str) -> Any:
    def pass_some(time: timedelta) -> None:
        wire = Wire(urlsplit(valkey_url).port or 0)
        try:
            step_clock(wire, round(time / timedelta(milliseconds=1)))
        finally:
            wire.close()

    return pass_some


def worker_of(url: str, function: Any) -> Worker:
    return Worker(
        [handler(function, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, 1)],
        policies={Note.kind: Policy(tries=3, first_wait=timedelta(milliseconds=10))},
        handle_signals=False,
    )


async def keys(redis: Redis) -> list[bytes]:
    return [name async for name in redis.scan_iter("momentus:{mail}:unique:*")]


def set_clock(producer: Producer, off: timedelta) -> None:
    """Put the clock of a backend forward or back."""
    producer._composer = Composer("default", now=lambda: datetime.now(UTC) + off)


# Keys


async def test_a_key_stands_as_long_as_its_delayed_job_waits(
    producer: Producer, redis: Redis, pass_time: Any
) -> None:
    first = await producer.send(Note("a"), key="k", delay=30 * DAY)
    pass_time(8 * DAY)
    again = await producer.send(Note("a"), key="k", delay=30 * DAY)
    assert (again.id, again.state) == (first.id, "duplicate")
    assert await redis.zcard(KEYS.queue) == 1


async def test_a_key_stands_through_death_and_revival_and_no_longer_than_its_window_once_the_job_is_done(
    valkey_url: str, producer: Producer, redis: Redis, pass_time: Any
) -> None:
    runs: list[int] = []

    async def die_once(_: dict[str, Any], text: str) -> None:
        runs.append(len(text))
        if len(runs) == 1:
            raise GiveUp("refused")

    first = await producer.send(Note("a"), key="k")
    async with running(worker_of(valkey_url, die_once)):
        await eventually(lambda: redis.zcard(KEYS.dead))
    pass_time(8 * DAY)
    assert (await producer.send(Note("a"), key="k")).state == "duplicate"
    assert (await revive_job(redis, first.id))[0] == "revived"
    async with running(worker_of(valkey_url, die_once)):
        await eventually(lambda: count_of(redis, LANE, "done"))
    assert await keys(redis) == []
    assert await redis.hlen(KEYS.keyed) == 0


async def test_a_key_stands_while_its_job_is_parked(
    valkey_url: str, producer: Producer, redis: Redis, pass_time: Any
) -> None:
    async def park(_: dict[str, Any], text: str) -> None:
        raise Park(text)

    await producer.send(Note("a"), key="k")
    async with running(worker_of(valkey_url, park)):
        await eventually(lambda: redis.hlen(KEYS.parked))
    pass_time(400 * DAY)
    assert (await producer.send(Note("a"), key="k")).state == "duplicate"


@pytest.mark.parametrize("way", ["done", "cancelled", "discarded", "expired", "vanished"])
async def test_a_key_of_a_job_that_is_over_stands_for_the_rest_of_its_window(
    way: str, valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        if way == "discarded":
            raise GiveUp(text)

    expires = timedelta(milliseconds=1) if way == "expired" else None
    first = await producer.send(Note("a"), key="k", expires=expires)
    if way == "cancelled":
        assert await producer.cancel(first.id) == "cancelled"
    elif way == "vanished":
        await redis.delete(f"arq:job:{first.id}")
    async with running(worker_of(valkey_url, take)):
        if way == "discarded":
            await eventually(lambda: redis.zcard(KEYS.dead))
            assert (await discard_job(redis, first.id))[0] == "gone"
        await eventually(lambda: count_of(redis, LANE, way))
    (key,) = await keys(redis)
    assert await redis.ttl(key) == pytest.approx(7 * 86_400, abs=120)
    assert (await producer.send(Note("a"), key="k")).state == "duplicate"
    assert await redis.hlen(KEYS.keyed) == 0


async def test_a_key_of_a_job_that_a_stock_arq_worker_ended_ends_with_its_window(
    producer: Producer, redis: Redis, pass_time: Any
) -> None:
    first = await producer.send(Note("a"), key="k")
    await redis.delete(f"arq:job:{first.id}", KEYS.queue)  # as such a worker leaves it
    assert (await producer.send(Note("a"), key="k")).state == "duplicate"
    pass_time(8 * DAY)
    assert (await producer.send(Note("a"), key="k")).state == "queued"


async def test_the_keys_of_all_items_stand_as_long_as_their_digest(
    producer: Producer, redis: Redis, pass_time: Any
) -> None:
    digests = [
        Digest(
            mail=Mail(to="ana@example.com", template="task_assigned", values={"task": task, "due": "hoy"}),
            template="tasks_assigned",
            collapse="tasks:7",
            window=DAY,
        )
        for task in ("Cierre", "Apertura")
    ]
    states = [(await producer.send_digest(one, key=str(place))).state for place, one in enumerate(digests)]
    await redis.hset(KEYS.holds, f"lane:{LANE}", '{"until_ms": null, "reason": ""}')
    pass_time_of_digests = timedelta(days=8)
    await redis.delete(*[name async for name in redis.scan_iter("momentus:{mail}:digest:*")])
    pass_time(pass_time_of_digests)
    again = [(await producer.send_digest(one, key=str(place))).state for place, one in enumerate(digests)]
    assert (states, again) == (["queued", "gathered"], ["duplicate", "duplicate"])


async def test_the_same_call_made_again_after_its_job_is_done_queues_nothing(
    valkey_url: str, redis: Redis
) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        del text

    payload = write_envelope(Note.kind, {"text": "a"}, enqueued_ms=1)
    entry = JobEntry("{mail}one", payload, 0, key="k", fingerprint="0" * 64, window_ms=60_000)
    first = await enqueue(LANE, [entry]).run(redis.execute_command)
    assert [(taken.id, taken.new) for taken in first] == [("{mail}one", True)]
    async with running(worker_of(valkey_url, take)):
        await eventually(lambda: count_of(redis, LANE, "done"))
    again = await enqueue(LANE, [entry]).run(redis.execute_command)
    assert [(taken.id, taken.new) for taken in again] == [("{mail}one", False)]
    assert await redis.zcard(KEYS.queue) == 0


# Spans


async def deadline_of(redis: Redis, job_id: str) -> timedelta:
    """How far the deadline is from now, by Redis's clock."""
    envelope = read_envelope(await redis.get(f"arq:job:{job_id}"))
    assert envelope.expires_ms is not None
    seconds, microseconds = await redis.time()
    return timedelta(milliseconds=envelope.expires_ms - seconds * 1000 - microseconds // 1000)


def close_to(span: timedelta, wanted: timedelta) -> bool:
    return abs(span - wanted) < timedelta(seconds=30)


@pytest.mark.parametrize("off", OFF, ids=str)
async def test_spans_count_by_the_clock_of_redis_whatever_the_backends_shows(
    off: timedelta, producer: Producer, redis: Redis
) -> None:
    set_clock(producer, off)
    sent = await producer.send(Note("a"), expires=timedelta(minutes=5))
    assert close_to(await deadline_of(redis, sent.id), timedelta(minutes=5))
    later = await producer.send(Note("b"), delay=timedelta(hours=1), expires=timedelta(hours=2))
    assert close_to(await deadline_of(redis, later.id), timedelta(hours=2))
    short = await producer.send(ShortNote("c"), delay=timedelta(hours=1))
    assert close_to(await deadline_of(redis, short.id), timedelta(minutes=70))
    (one, _) = await producer.send_many([Note("d"), Note("e")], expires=timedelta(minutes=5))
    assert close_to(await deadline_of(redis, one.id), timedelta(minutes=5))
    code = Mail(to="ana@example.com", subject="Código", text="123", stream="code")
    receipt = await producer.send(code)
    assert code.life is not None
    assert close_to(await deadline_of(redis, receipt.id), code.life)


@pytest.mark.parametrize("off", OFF, ids=str)
async def test_an_instant_is_taken_as_given(off: timedelta, producer: Producer, redis: Redis) -> None:
    set_clock(producer, off)
    instant = datetime.now(UTC) + off + timedelta(minutes=5)
    sent = await producer.send(Note("a"), expires=instant)
    assert close_to(await deadline_of(redis, sent.id), off + timedelta(minutes=5))


@pytest.mark.parametrize("off", OFF, ids=str)
async def test_a_job_of_a_backend_whose_clock_is_wrong_is_tried_again_like_any_other(
    off: timedelta, valkey_url: str, producer: Producer, redis: Redis
) -> None:
    runs: list[str] = []

    async def fail_once(context: dict[str, Any], text: str) -> None:
        assert close_to(datetime.now(UTC) - context["enqueue_time"], timedelta(0))
        assert close_to(context["age"], timedelta(0))
        runs.append(text)
        if len(runs) == 1:
            raise ConnectionError("away")

    set_clock(producer, off)
    await producer.send(Note("a"))
    async with running(worker_of(valkey_url, fail_once)):
        await eventually(lambda: count_of(redis, LANE, "done"))
    assert runs == ["a", "a"]


async def test_a_job_of_an_older_producer_runs_and_expires_as_its_envelope_says(
    valkey_url: str, redis: Redis
) -> None:
    seen: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        seen.append(text)

    now = round(datetime.now(UTC).timestamp() * 1000)
    for text, expires in (("good", now + 60_000), ("late", now - 1)):
        payload = write_envelope(Note.kind, {"text": text}, enqueued_ms=now - 5_000, expires_ms=expires)
        await redis.set(f"arq:job:{{mail}}{text}", payload)  # stored before scripts wrote instants of their own
        await redis.zadd(KEYS.queue, {f"{{mail}}{text}": now})
    async with running(worker_of(valkey_url, take)):
        await eventually(lambda: count_of(redis, LANE, "expired"))
        await eventually(lambda: count_of(redis, LANE, "done"))
    assert seen == ["good"]


@pytest.mark.parametrize("due", ["0 x", "0 y5", "x5", "@1 x-5", "0  x5"])
async def test_a_due_that_cannot_be_read_is_refused_and_nothing_is_queued(due: str, redis: Redis) -> None:
    arguments = [LANE, KEYS.tag, "{mail}one", '{"v":1}', due, "", "", "0", ""]
    with pytest.raises(ResponseError, match="nothing was queued"):
        await redis.eval(script_source("enqueue"), 3, KEYS.queue, KEYS.wake, KEYS.counters, *arguments)
    assert await redis.zcard(KEYS.queue) == 0


async def test_two_calls_at_once_under_one_key_queue_one_job(producer: Producer, redis: Redis) -> None:
    receipts = await asyncio.gather(*(producer.send(Note("a"), key="k") for _ in range(20)))
    assert len({one.id for one in receipts}) == await redis.zcard(KEYS.queue) == 1
