"""Gathering: what comes at about the same time waits for each other in a busy worker, and only there."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from producers.keys import LaneKeys
from worker.engine.batch import CallBatcher
from worker.engine.gathering import wait_while_busy
from worker.engine.lane import Claim, Completion, Lane


def lane(*, running: int, ended: int = 0, claimable: bool = False, has_more: bool = False) -> Lane:
    """A lane of 40 slots."""
    claims = [Claim("mail.normal", f"{n}", b"", 1, 0, 0, 0, "") for n in range(running + ended)]
    made = Lane(LaneKeys("mail.normal"), 40, claimable=claimable, has_more=has_more)
    made.running.update(claims[:running])
    made.ended += [Completion(one, "done", timedelta(0), b"", timedelta(0), "") for one in claims[running:]]
    return made


@pytest.mark.parametrize(
    ("one", "gathers"),
    [
        (lane(running=0, ended=1), False),  # a lone job: its outcome is recorded at once
        (lane(running=3, ended=1), False),
        (lane(running=30, ended=10, has_more=True), False),  # a fourth of the slots is free
        (lane(running=31, ended=9, has_more=True), True),
        (lane(running=39, ended=1), True),
        (lane(running=39, ended=1, claimable=True), False),  # it was woken: another job waits for the slot
        (lane(running=40, claimable=True), True),
        (lane(running=0), True),  # it has nothing to do, and does not keep others from gathering
        (lane(running=0, has_more=True), False),
    ],
)
def test_a_lane_waits_for_others_only_while_nearly_all_its_slots_work(*, one: Lane, gathers: bool) -> None:
    assert one.can_gather is gathers


async def test_waiting_ends_after_its_rounds_however_busy_the_loop_is() -> None:
    rounds = 0

    def work() -> None:
        nonlocal rounds
        rounds += 1
        sum(range(20_000))
        following.append(asyncio.get_running_loop().call_soon(work))

    following: list[asyncio.Handle] = []
    work()
    await wait_while_busy(rounds=8)
    following[-1].cancel()
    assert 8 <= rounds <= 10


async def test_waiting_ends_as_soon_as_it_is_not_wanted() -> None:
    asked: list[int] = []

    def wanted() -> bool:
        asked.append(1)
        return False

    await wait_while_busy(rounds=1_000_000, wanted=wanted)
    assert asked == [1]


async def test_queries_that_came_during_a_call_leave_together_with_those_of_the_next_rounds() -> None:
    calls: list[list[int]] = []
    first, replied = asyncio.Event(), asyncio.Event()

    async def call(queries: Sequence[int]) -> Sequence[int]:
        calls.append(list(queries))
        first.set()
        await replied.wait()
        return queries

    batcher = CallBatcher(call, rounds=4)
    alone = batcher.submit(1)
    await first.wait()
    assert calls == [[1]], "a query that finds no call under way leaves at once"
    during = [batcher.submit(2), batcher.submit(3)]
    replied.set()
    assert await asyncio.gather(alone, *during) == [1, 2, 3]
    assert calls == [[1], [2, 3]]
