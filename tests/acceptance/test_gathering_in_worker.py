"""Gathering in a worker whose event loop never rests: a lone job waits for nobody, and no other waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from producers import Producer
from producers.keys import LaneKeys
from producers.link import Link
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import LaneSlots, Worker, effect_marks, pump
from worker.engine.effect_marks import EffectMarks
from worker.engine.handler import handler
from worker.engine.lane import Claim

KEYS = LaneKeys(LANE)
_FOR_EVER = 10**9
"""Rounds that do not end while a test lasts."""


@asynccontextmanager
async def busy_loop() -> AsyncIterator[None]:
    """An event loop with other work in every round, each longer than a round that counts as idle."""
    loop = asyncio.get_running_loop()
    following: list[asyncio.Handle] = []

    def work() -> None:
        sum(range(20_000))
        following[:] = [loop.call_soon(work)]

    work()
    try:
        yield
    finally:
        following[0].cancel()


class Holding:
    """A handler whose jobs run until they are let go; it notes which run."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Event] = {}

    async def take(self, context: dict[str, Any], text: str) -> None:
        del context
        self.running[text] = asyncio.Event()
        await self.running[text].wait()

    def let_all_go(self) -> None:
        for held in self.running.values():
            held.set()


@asynccontextmanager
async def worker_with(url: str, holding: Holding, *, slots: int, jobs: int) -> AsyncIterator[Worker]:
    """A worker that runs this many jobs, ``0`` and so on."""
    lanes = [LaneSlots(LANE, slots)]
    made = Worker([handler(holding.take, kind=Note.kind)], redis_url=url, handle_signals=False, lanes=lanes)
    async with Producer.connect(url) as producer, running(made) as worker:
        for number in range(jobs):
            await producer.send(Note(str(number)), key=f"note:{number}")
        await eventually(lambda: len(holding.running) == jobs)
        try:
            yield worker
        finally:
            holding.let_all_go()


async def are_leased(redis: Redis, count: int) -> bool:
    """Whether Redis knows of that many running jobs: one whose outcome is recorded has no lease."""
    return bool(await redis.zcard(KEYS.leases) == count)


async def test_the_outcome_of_a_lone_job_waits_for_nobody_however_busy_the_loop_is(
    valkey_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "_ROUNDS", _FOR_EVER)
    holding = Holding()
    async with worker_with(valkey_url, holding, slots=10, jobs=1), busy_loop():
        holding.let_all_go()
        await eventually(lambda: are_leased(redis, 0))


async def test_the_outcome_of_a_job_in_a_full_worker_is_recorded_though_the_loop_stays_busy(
    valkey_url: str, redis: Redis
) -> None:
    holding = Holding()
    async with worker_with(valkey_url, holding, slots=10, jobs=10), busy_loop():
        holding.running["3"].set()
        await eventually(lambda: are_leased(redis, 9))


@pytest.fixture
async def marks(valkey_url: str) -> AsyncIterator[EffectMarks]:
    made = EffectMarks(Link(valkey_url, KEYS.tag))
    yield made
    await made.close()


def claim(number: int) -> Claim:
    return Claim(LANE, f"{number}", b"", 1, 0, 0, 0, "nobody's")


async def test_a_lone_mark_waits_for_nobody_however_busy_the_loop_is(
    marks: EffectMarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effect_marks, "_ROUNDS", _FOR_EVER)
    async with busy_loop():
        mark = asyncio.ensure_future(marks.make_mark(claim(1), KEYS.effects))
        await eventually(mark.done)
    assert mark.result() == 0, "its lease was never given"


async def test_a_mark_that_came_during_a_call_is_stored_though_the_loop_stays_busy(marks: EffectMarks) -> None:
    async with busy_loop():
        first = asyncio.ensure_future(marks.make_mark(claim(1), KEYS.effects))
        await asyncio.sleep(0)  # it has left
        second = asyncio.ensure_future(marks.make_mark(claim(2), KEYS.effects))
        await eventually(lambda: first.done() and second.done())
    assert [first.result(), second.result()] == [False, False]
