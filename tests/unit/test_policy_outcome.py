"""What becomes of a job after an attempt, row by row of the engine's table, and how long it waits."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from arq.worker import JobExecutionFailed, Retry, RetryJob
from hypothesis import given, strategies as st

from jobs import JobError, Mail, Policy, RefreshReport
from worker.engine import GiveUp, TryLater
from worker.engine.outcome import DONE, Outcome, decide_outcome, wait_before

POLICY = Policy(tries=3, first_wait=timedelta(seconds=10), jitter=0, horizon=timedelta(hours=1))
YOUNG = timedelta(minutes=1)
FIRST, SECOND = timedelta(seconds=10), timedelta(seconds=20)


def after(
    error: BaseException | None,
    attempt: int = 1,
    age: timedelta = YOUNG,
    *,
    begun: bool = False,
    stopped: bool = False,
) -> Outcome:
    return decide_outcome(error, attempt=attempt, age=age, policy=POLICY, effect_begun=begun, stopped=stopped)


@pytest.mark.parametrize("begun", [False, True])
def test_a_handler_that_returned_is_done_at_any_age_and_attempt(begun: bool) -> None:  # noqa: FBT001  a parameter
    assert after(None, attempt=99, age=timedelta(days=99), begun=begun) == DONE


@pytest.mark.parametrize("begun", [False, True])
def test_giving_up_is_dead_at_once_and_certain(begun: bool) -> None:  # noqa: FBT001  a parameter
    assert after(GiveUp("550 no such user"), begun=begun) == Outcome("dead", reason="550 no such user")


def test_an_accident_is_tried_again_and_certain_only_before_its_effect() -> None:
    assert after(RuntimeError("disk")) == Outcome("retry", FIRST, "RuntimeError: disk")
    assert after(RuntimeError("disk"), attempt=2, begun=True) == Outcome("retry+", SECOND, "RuntimeError: disk")


def test_trying_later_waits_by_the_policy_or_as_long_as_it_says() -> None:
    assert after(TryLater("busy"), attempt=2) == Outcome("retry", SECOND, "busy")
    assert after(TryLater("busy", after=YOUNG)) == Outcome("retry", YOUNG, "busy")
    assert after(TryLater("no reply", uncertain=True)) == Outcome("retry+", FIRST, "no reply")
    assert after(TryLater("450 refused"), begun=True).kind == "retry"


@pytest.mark.parametrize("attempt", [1, 3, 99])
@pytest.mark.parametrize("age", [YOUNG, timedelta(days=99)])
def test_an_uncharged_wait_is_deferred_whatever_the_attempt_and_the_age(attempt: int, age: timedelta) -> None:
    quota = TryLater("quota", after=YOUNG, charged=False)
    assert after(quota, attempt, age) == Outcome("defer", YOUNG, "quota")


def test_a_shutdown_defers_and_leaves_a_begun_effect_uncertain() -> None:
    error = asyncio.CancelledError()
    assert after(error, stopped=True, attempt=99, age=timedelta(days=99)) == Outcome("defer")
    assert after(error, stopped=True, attempt=99, age=timedelta(days=99), begun=True) == Outcome("defer+")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        asyncio.InvalidStateError(),
        TimeoutError(),
        RetryJob(),
        JobExecutionFailed(),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseExceptionGroup("both", [SystemExit(1), ValueError("x")]),
        Unspeakable(),
    ],
)
def test_whatever_else_a_handler_raises_is_charged_and_bounded(error: BaseException) -> None:
    first = after(error)
    assert (first.kind, first.delay) == ("retry", FIRST)
    assert type(error).__name__ in first.reason
    assert after(error, begun=True).kind == "retry+"
    assert after(error, attempt=3).kind == "dead"


def test_a_wait_that_is_no_span_of_time_is_refused_where_it_is_said() -> None:
    with pytest.raises(TypeError, match="after: must be a timedelta"):
        TryLater("later", after=5)  # type: ignore[arg-type]  # what a handler may say by mistake


@pytest.mark.parametrize("attempt", [1, 3, 99])
def test_a_bounded_wait_is_uncharged_grows_with_the_age_and_ends_with_the_horizon(attempt: int) -> None:
    slower = TryLater("slower", charged=False, bounded=True)
    named = TryLater("slower", after=SECOND, charged=False, bounded=True)
    assert after(slower, attempt, timedelta(0)) == Outcome("defer", FIRST, "slower")
    assert after(named, attempt, timedelta(0)) == Outcome("defer", SECOND, "slower")
    assert after(named, attempt, YOUNG) == Outcome("defer", YOUNG, "slower")
    old = after(named, attempt, POLICY.horizon - FIRST)
    assert (old.kind, old.reason) == ("dead", "the job would be older than 1:00:00 at the next attempt: slower")


def test_a_bounded_wait_does_not_outlast_the_deadline() -> None:
    slower = TryLater("slower", after=YOUNG, charged=False, bounded=True)
    put_off = decide_outcome(slower, attempt=1, age=YOUNG, policy=POLICY, left=SECOND)
    assert put_off == Outcome("defer", SECOND, "slower")


def test_arqs_retry_waits_as_long_as_it_says_within_the_policy() -> None:
    asked = after(Retry(defer=5))
    assert (asked.kind, asked.delay) == ("retry", timedelta(seconds=5))
    assert after(Retry(), attempt=3).kind == "dead"
    assert after(Retry(defer=7200)).kind == "dead"


@pytest.mark.parametrize("error", [RuntimeError("x"), TryLater("x"), TryLater("x", after=FIRST)])
def test_the_last_attempt_and_the_horizon_make_a_job_dead_with_the_reason(error: Exception) -> None:
    spent = after(error, attempt=3)
    old = after(error, age=POLICY.horizon)
    assert (spent.kind, old.kind) == ("dead", "dead")
    assert spent.reason.startswith("attempt 3 of 3 failed: ")
    assert old.reason.startswith("the job would be older than 1:00:00 at the next attempt: ")
    assert after(error, attempt=2, age=POLICY.horizon - SECOND).kind == "retry"


def test_a_dead_job_whose_effect_may_have_taken_place_says_so() -> None:
    assert after(RuntimeError("x"), attempt=3, begun=True).kind == "dead+"
    assert after(TryLater("x", uncertain=True), age=POLICY.horizon).kind == "dead+"


@given(
    attempt=st.integers(1, 1000),
    first=st.timedeltas(timedelta(milliseconds=1), timedelta(minutes=1)),
    longest=st.timedeltas(timedelta(minutes=1), timedelta(days=1)),
    factor=st.floats(1, 2),
    jitter=st.floats(0, 1),
)
def test_a_wait_grows_to_its_ceiling_and_strays_no_further_than_its_jitter(
    attempt: int, first: timedelta, longest: timedelta, factor: float, jitter: float
) -> None:
    still = Policy(first_wait=first, longest_wait=longest, factor=factor, jitter=0)
    shaky = Policy(first_wait=first, longest_wait=longest, factor=factor, jitter=jitter)
    plain = wait_before(attempt, still)
    stray = plain * jitter + timedelta(microseconds=1)
    assert min(first, longest) <= plain <= longest
    assert plain <= wait_before(attempt + 1, still)
    assert plain - stray <= wait_before(attempt, shaky) <= plain + stray


def test_jobs_that_failed_together_do_not_return_together() -> None:
    assert len({wait_before(1, Policy()) for _ in range(100)}) > 50


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tries": 0}, "tries: must be a whole number of at least 1, not 0"),
        ({"tries": "3"}, "tries: must be a whole number"),
        ({"first_wait": 5}, r"first_wait: must be a timedelta, not 5; write timedelta\(seconds=5\)"),
        ({"horizon": timedelta(-1)}, "horizon: must not be negative"),
        ({"factor": 0.5}, "factor: must be a number of at least 1"),
        ({"jitter": None}, "jitter: must be a number of at least 0"),
    ],
)
def test_a_policy_that_no_retry_can_follow_is_refused_where_it_is_written(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(JobError, match=told):
        Policy(**fields)


@pytest.mark.parametrize("policy", [Policy(), Mail.policy, RefreshReport.policy])
def test_every_attempt_of_a_declared_policy_has_a_wait_within_its_bounds(policy: Policy) -> None:
    for attempt in range(1, policy.tries + 1):
        assert timedelta(0) < wait_before(attempt, policy) <= policy.longest_wait * (1 + policy.jitter)
