"""Handlers that end in unusual ways, or not at all: jobs are charged, slots come back, the worker goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from arq.worker import JobExecutionFailed, Retry, RetryJob, func
from redis.asyncio import Redis

from jobs import Policy
from producers import Producer
from producers.keys import LaneKeys
from tests.counts import counts
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import LaneSlots, TryLater, Worker, runner
from worker.engine.lane import Lane
from worker.engine.store import CycleResult, JobStore

KEYS = LaneKeys(LANE)
CENTURY_MS = 36_000 * 86_400_000
QUICK = Policy(tries=2, first_wait=timedelta(milliseconds=5))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STOP_SECONDS", 0.1)


@asynccontextmanager
async def working(
    url: str, handle: Callable[..., Any], *, slots: int = 1, **options: Any
) -> AsyncIterator[Worker]:
    timeout = options.pop("timeout", None)
    worker = Worker(
        [func(handle, name=Note.kind, timeout=timeout)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots)],
        handle_signals=False,
        **{"policies": {Note.kind: QUICK}, **options},
    )
    async with running(worker):
        yield worker


async def history(redis: Redis, job_id: str) -> bytes:
    return b"\n".join(await redis.lrange(KEYS.history(job_id), 0, -1))


def dead(redis: Redis, job_id: str) -> Callable[[], Awaitable[object]]:
    return lambda: redis.zscore(KEYS.dead, job_id)


UNUSUAL = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    asyncio.InvalidStateError(),
    TimeoutError(),
    RetryJob(),
    Retry(),
    JobExecutionFailed("no"),
    BaseExceptionGroup("both", [SystemExit(1), KeyboardInterrupt()]),
    RuntimeError("a lone \udc80 surrogate"),
    RuntimeError("long" * 100_000),
    TryLater("after the calendar's end", after=timedelta.max),
]


async def test_whatever_a_handler_raises_its_job_dies_after_its_tries_and_the_slot_takes_the_next(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    attempts: dict[str, int] = {}

    async def take(_: dict[str, Any], text: str) -> None:
        attempts[text] = attempts.get(text, 0) + 1
        if text != "good":
            raise UNUSUAL[int(text)]

    async with working(valkey_url, take) as worker:
        receipts = [await producer.send(Note(str(number))) for number in range(len(UNUSUAL))]
        for receipt in receipts:
            await eventually(dead(redis, receipt.id))
        await producer.send(Note("good"))
        await eventually(counts(redis, LANE, "done"))
        assert not worker.lanes[0].running
    assert attempts == {**{str(number): 2 for number in range(len(UNUSUAL))}, "good": 1}
    assert b"attempt 2 of 2 failed: SystemExit: 3" in await history(redis, receipts[0].id)
    assert b"surrogate" in await history(redis, receipts[10].id)


async def test_a_hook_that_raises_changes_no_outcome(valkey_url: str, redis: Redis, producer: Producer) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        del text

    async def hook(_: dict[Any, Any]) -> None:
        raise SystemExit(1)

    async with working(valkey_url, take, on_job_end=hook):
        await producer.send(Note("fine"))
        await eventually(counts(redis, LANE, "done"))


async def test_a_handler_beyond_its_timeout_is_stopped_and_charged(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    stopped: list[int] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(context["job_try"])

    async with working(valkey_url, take, timeout=0.05):
        receipt = await producer.send(Note("slow"))
        await eventually(dead(redis, receipt.id))
    assert stopped == [1, 2]
    assert b"attempt 2 of 2 failed: TimedOut: the handler ran longer than 0.05 s" in await history(
        redis, receipt.id
    )


async def test_the_workers_timeout_is_for_the_functions_without_one(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        del text
        await asyncio.Event().wait()

    async with working(valkey_url, take, job_timeout=0.05):
        receipt = await producer.send(Note("slow"))
        await eventually(dead(redis, receipt.id))
    assert b"the handler ran longer than 0.05 s" in await history(redis, receipt.id)


async def test_an_effect_begun_before_the_timeout_is_uncertain(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async def take(context: dict[str, Any], text: str) -> None:
        del text
        await context["begin_effect"]()
        await asyncio.Event().wait()

    async with working(valkey_url, take, timeout=0.4):
        receipt = await producer.send(Note("slow"))
        await eventually(dead(redis, receipt.id))
    assert await redis.hget(KEYS.counters, f"uncertain:{LANE}") == b"2"


@pytest.mark.usefixtures("impatient")
async def test_a_handler_that_swallows_its_timeout_loses_its_slot_and_can_begin_no_effect(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    go, effects = asyncio.Event(), []

    async def take(context: dict[str, Any], text: str) -> None:
        while text == "deaf" and not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        effects.append((text, await context["begin_effect"]()))

    policies = {Note.kind: replace(QUICK, tries=4)}
    async with working(valkey_url, take, timeout=0.05, policies=policies) as worker:
        receipt = await producer.send(Note("deaf"))
        await eventually(lambda: worker.jobs_retried == 1)
        await producer.send(Note("next"))
        await eventually(counts(redis, LANE, "done"))
        await eventually(dead(redis, receipt.id), timeout=20)
        go.set()
        await eventually(lambda: len(effects) == 2)
    words = await history(redis, receipt.id)
    assert effects == [("next", True), ("deaf", False)]
    assert b"the handler ran longer than 0.05 s and did not end on its cancellation" in words
    assert words.count(b"the previous attempt still runs in this worker") == 3


async def test_a_timeout_around_a_blocking_thread_frees_the_slot(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    go = threading.Event()

    async def take(_: dict[str, Any], text: str) -> None:
        if text == "blocking":
            await asyncio.to_thread(go.wait)

    async with working(valkey_url, take, timeout=0.05):
        receipt = await producer.send(Note("blocking"))
        await eventually(dead(redis, receipt.id))
        await producer.send(Note("next"))
        await eventually(counts(redis, LANE, "done"))
        go.set()


@pytest.mark.usefixtures("impatient")
async def test_a_job_that_people_cancel_is_over_although_its_handler_does_not_listen(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    async def take(_: dict[str, Any], text: str) -> None:
        del text
        begun.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    async with working(valkey_url, take, renew_every=timedelta(milliseconds=50)) as worker:
        receipt = await producer.send(Note("deaf"))
        await begun.wait()
        await producer.cancel(receipt.id)
        await eventually(lambda: redis.hget(KEYS.counters, f"cancelled:{LANE}"))
        assert not worker.lanes[0].running
        go.set()


async def test_a_fault_in_a_turn_costs_no_slot_and_no_outcome(
    valkey_url: str, redis: Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = JobStore.run_cycle
    failed: list[int] = []

    async def take(_: dict[str, Any], text: str) -> None:
        del text

    async def faulty(store: JobStore, endings: list[Any], wanted: list[tuple[Lane, int]]) -> CycleResult:
        if endings and len(failed) < 3:
            failed.append(len(endings))
            raise LookupError("of our own")
        return await healthy(store, endings, wanted)

    monkeypatch.setattr(JobStore, "run_cycle", faulty)
    async with working(valkey_url, take):
        await producer.send_many([Note(str(number)) for number in range(5)])
        await eventually(counts(redis, LANE, "done", 5))
    assert len(failed) == 3


def test_arguments_of_arq_that_mean_nothing_to_lanes_are_refused_by_name(valkey_url: str) -> None:
    async def take(_: dict[str, Any]) -> None:
        return

    arguments: dict[str, Any] = {"burst": True, "cron_jobs": [], "max_jobs": 5, "allow_abort_jobs": True}
    for name, value in arguments.items():
        with pytest.raises(TypeError, match=name):
            Worker([take], redis_url=valkey_url, lanes=[LaneSlots(LANE, 1)], **{name: value})


@asynccontextmanager
async def stock(url: str, handle: Callable[..., Any], own: dict[str, Any], **options: Any) -> AsyncIterator[None]:
    """A worker with a function as an arq application declares it, with words of its own."""
    function = func(handle, name=Note.kind, **own)
    async with running(
        Worker([function], redis_url=url, lanes=[LaneSlots(LANE, 1)], handle_signals=False, **options)
    ):
        yield


async def test_a_function_of_arqs_is_tried_as_often_as_it_says(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    attempts: list[int] = []

    async def fail(context: dict[str, Any], text: str) -> None:
        del text
        attempts.append(context["job_try"])
        raise Retry(defer=0)

    receipt = await producer.send(Note("thrice"))
    async with stock(valkey_url, fail, {"max_tries": 3}, max_tries=1):
        await eventually(dead(redis, receipt.id))
    assert attempts == [1, 2, 3]
    assert b"attempt 3 of 3 failed" in await history(redis, receipt.id)


async def test_a_named_policy_comes_before_the_tries_of_a_function(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async def fail(_: dict[str, Any], text: str) -> None:
        raise ValueError(text)

    receipt = await producer.send(Note("twice"))
    async with stock(valkey_url, fail, {"max_tries": 5}, policies={Note.kind: QUICK}):
        await eventually(dead(redis, receipt.id))
    assert b"attempt 2 of 2 failed" in await history(redis, receipt.id)


async def life_of_the_result(url: str, redis: Redis, own: dict[str, Any], **options: Any) -> float:
    """Milliseconds."""
    async with Producer.connect(url, budget=5) as producer, stock(url, answer, own, **options):
        receipt = await producer.send(Note("kept"))
        await eventually(lambda: redis.exists(f"arq:result:{receipt.id}"))
    return float(await redis.pttl(f"arq:result:{receipt.id}"))


async def answer(_: dict[str, Any], text: str) -> str:
    return text


async def test_a_function_may_keep_its_result_for_the_usual_time_although_the_worker_keeps_others_for_ever(
    valkey_url: str, redis: Redis
) -> None:
    own = {"keep_result_forever": False}
    life = await life_of_the_result(valkey_url, redis, own, keep_result=60, keep_result_forever=True)
    assert 0 < life <= 60_000


async def test_a_worker_that_keeps_results_for_ever_does_so_beside_a_functions_time_as_arq_does(
    valkey_url: str, redis: Redis
) -> None:
    own = {"keep_result": 60}
    life = await life_of_the_result(valkey_url, redis, own, keep_result_forever=True)
    assert life > CENTURY_MS


@pytest.mark.parametrize("by", ["the function", "the worker"])
async def test_a_result_that_is_to_be_kept_for_ever_outlives_its_keep_result(
    valkey_url: str, redis: Redis, by: str
) -> None:
    own = {"keep_result_forever": by == "the function" or None}
    every = by == "the worker"
    life = await life_of_the_result(valkey_url, redis, own, keep_result=1, keep_result_forever=every)
    assert life > CENTURY_MS
