"""Queries submitted together: one call for many, each with its own reply, and a failure for all its callers."""

import asyncio
from collections.abc import Sequence

import pytest

from worker.engine.batch import CallBatcher, CallDropped, WrongReplyCount


async def test_many_questions_become_few_calls_and_everybody_gets_their_own_answer() -> None:
    calls: list[int] = []

    async def double(numbers: Sequence[int]) -> list[int]:
        calls.append(len(numbers))
        await asyncio.sleep(0)
        return [2 * number for number in numbers]

    batcher = CallBatcher(double, most=40)
    assert await asyncio.gather(*(batcher.submit(number) for number in range(100))) == list(range(0, 200, 2))
    assert sum(calls) == 100
    assert len(calls) <= 4
    assert await batcher.submit(7) == 14


async def test_a_failed_call_is_told_to_all_who_waited_and_to_nobody_after() -> None:
    failing = True

    async def call(queries: Sequence[str]) -> list[str]:
        if failing:
            raise ConnectionError
        return list(queries)

    batcher = CallBatcher(call)
    found = await asyncio.gather(*(batcher.submit("x") for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [ConnectionError] * 3
    failing = False
    assert await batcher.submit("y") == "y"


async def test_a_caller_that_is_cancelled_leaves_the_others_be() -> None:
    go_on = asyncio.Event()

    async def call(queries: Sequence[int]) -> list[int]:
        await go_on.wait()
        return list(queries)

    batcher = CallBatcher(call)
    leaving, staying = (batcher.submit(number) for number in (1, 2))
    await asyncio.sleep(0)
    leaving.cancel()
    go_on.set()
    assert await staying == 2
    with pytest.raises(asyncio.CancelledError):
        await leaving


@pytest.mark.parametrize("answers", [0, 2, 4])
async def test_another_number_of_answers_than_of_questions_is_an_error_of_that_name(answers: int) -> None:
    async def call(_: Sequence[int]) -> list[int]:
        return [1] * answers

    batcher = CallBatcher(call)
    found = await asyncio.gather(*(batcher.submit(number) for number in range(3)), return_exceptions=True)
    assert {str(one) for one in found} == {
        f"replies: the call returned {answers} for 3 queries; it must return one for each"
    }
    assert {type(one) for one in found} == {WrongReplyCount}


async def test_a_call_that_fails_leaves_the_questions_behind_it_to_the_next_call() -> None:
    calls = 0

    async def call(queries: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        return list(queries) if calls > 1 else [0, 0, 0]

    batcher = CallBatcher(call, most=2)
    found = await asyncio.gather(*(batcher.submit(number) for number in range(4)), return_exceptions=True)
    assert [type(one) for one in found[:2]] == [WrongReplyCount] * 2
    assert found[2:] == [2, 3]


async def test_a_call_that_is_stopped_fails_all_who_wait_and_cancels_none() -> None:
    """The one under way, and those behind it: a mail that is told of a cancellation takes it for its own."""

    async def call(_: Sequence[int]) -> list[int]:
        raise asyncio.CancelledError

    batcher = CallBatcher(call, most=2)
    found = await asyncio.gather(*(batcher.submit(number) for number in range(5)), return_exceptions=True)
    assert [type(one) for one in found] == [CallDropped] * 5
