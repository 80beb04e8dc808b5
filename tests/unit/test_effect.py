"""An attempt is uncertain only if its mark was made: what stopped it before that had caused nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from jobs import Policy
from producers.envelope import write_envelope
from producers.keys import LaneKeys
from worker.engine.attempt import Attempt, Effect, Handlers, run_attempt
from worker.engine.handler import handler
from worker.engine.lane import Claim, Lane
from worker.engine.progress import Progress

KIND = "effect.cause"
ENVELOPE = write_envelope(KIND, {}, enqueued_ms=1)
Mark = Callable[[Claim, str, str], Awaitable[bool]]


async def ended(mark: Mark, work: Callable[[dict[str, Any]], Awaitable[None]]) -> str:
    """How an attempt with this handler ended."""
    claim = Claim("mail.normal", "{mail}1", ENVELOPE, 1, 1, 1, 0, "w-1:1")
    functions = {KIND: handler(work, kind=KIND)}
    handlers = Handlers(
        functions=functions, policies={}, default=Policy(tries=5), context={}, keep_result=timedelta(0)
    )

    async def told(_: Claim, _key: str, _told: bytes) -> None:
        """Nobody asks how far it is."""

    progress = Progress(told, claim, "key", asyncio.get_running_loop())
    lane = Lane(LaneKeys(claim.lane), 1)
    it = Attempt(lane, claim, Effect(mark, claim, "key"), progress, lambda *_: None, stopped="shutdown")
    return (await run_attempt(it, handlers)).outcome.kind


async def marks(_: Claim, _key: str, _note: str) -> bool:
    return True


async def begins(context: dict[str, Any]) -> None:
    assert await context["begin_effect"]()
    raise asyncio.CancelledError


async def test_an_attempt_that_is_stopped_after_its_mark_is_uncertain() -> None:
    assert await ended(marks, begins) == "defer+"


async def test_an_attempt_that_is_stopped_before_it_asks_for_its_mark_is_certain() -> None:
    async def stopped(_: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    assert await ended(marks, stopped) == "defer"


@pytest.mark.parametrize("fault", [asyncio.CancelledError(), ConnectionLost("gone"), TimeoutError()])
async def test_an_attempt_whose_mark_does_not_come_is_certain(fault: BaseException) -> None:
    async def fails(_: Claim, _key: str, _note: str) -> bool:
        raise fault

    outcome = await ended(fails, begins)
    assert outcome == ("defer" if isinstance(fault, asyncio.CancelledError) else "retry")


async def test_an_attempt_whose_second_mark_fails_is_as_uncertain_as_after_the_first() -> None:
    answers = iter([True, False])

    async def once(_: Claim, _key: str, _note: str) -> bool:
        return next(answers)

    async def twice(context: dict[str, Any]) -> None:
        assert await context["begin_effect"]()
        assert not await context["begin_effect"]()
        raise asyncio.CancelledError

    assert await ended(once, twice) == "defer+"
