"""What becomes of a job after an attempt: a pure decision over values.

| what happened                                   | outcome                                        |
|-------------------------------------------------|------------------------------------------------|
| the handler returned                            | done                                           |
| it raised GiveUp                                | dead                                           |
| it raised TryLater, or any other error          | retry by the policy; dead past tries or age    |
| it raised TryLater(charged=False)               | defer: no attempt is counted                   |
| it was cancelled (shutdown), or arq's RetryJob  | defer                                          |
| it raised arq's Retry                           | retry after what it says                       |

A handler's own words are certain. When it was cancelled, or failed by accident, after its effect had begun,
nobody knows whether the effect took place: the outcome is the same with a ``+``, which is counted as
uncertain.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from arq.worker import Retry, RetryJob

from jobs import Policy


class GiveUp(Exception):
    """A handler's word that no later attempt can succeed. The job becomes dead, with the reason."""


class TryLater(Exception):
    """A handler's word that a later attempt may succeed.

    Args:
        reason: kept in the job's history; may hold a server's reply, so it does not go to the log.
        after: how long to wait; left out, the policy decides.
        charged: False when the wait is not the job's fault (a limit, a pause, an account's quota).
        uncertain: the effect began and nobody knows whether it took place.
    """

    def __init__(
        self, reason: str, *, after: timedelta | None = None, charged: bool = True, uncertain: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after
        self.charged = charged
        self.uncertain = uncertain


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to record. ``delay`` counts for retry and defer, in Redis's time."""

    kind: Literal["done", "retry", "retry+", "defer", "defer+", "dead", "dead+", "cancelled", "cancelled+"]
    delay: timedelta = timedelta(0)
    reason: str = ""


DONE = Outcome("done")
_UNCHARGED_WAIT = timedelta(seconds=30)


def decide(  # noqa: PLR0911  one return per row of the table above
    error: BaseException | None, *, attempt: int, age: timedelta, policy: Policy, effect_begun: bool = False
) -> Outcome:
    """The outcome of one attempt.

    Args:
        error: what the handler raised, or None when it returned.
        attempt: this one's number, from 1.
        age: since the job was enqueued, or was to run first.
        effect_begun: whether the handler had begun an effect that cannot be taken back.
    """
    match error:
        case None:
            return DONE
        case GiveUp():
            return Outcome("dead", reason=str(error))
        case TryLater(charged=False):
            return Outcome("defer", _UNCHARGED_WAIT if error.after is None else error.after, error.reason)
        case asyncio.CancelledError() | RetryJob():
            return Outcome("defer+" if effect_begun else "defer")
        case Retry():
            wait = timedelta(milliseconds=error.defer_score or 0)
            return _again(wait, f"Retry asked for {wait}", attempt=attempt, age=age, policy=policy)
        case TryLater():
            wait = wait_before(attempt, policy) if error.after is None else error.after
            return _again(wait, error.reason, attempt=attempt, age=age, policy=policy, uncertain=error.uncertain)
        case _:
            wait = wait_before(attempt, policy)
            words = f"{type(error).__name__}: {error}"
            return _again(wait, words, attempt=attempt, age=age, policy=policy, uncertain=effect_begun)


def wait_before(attempt: int, policy: Policy) -> timedelta:
    """The policy's wait after this attempt failed, with its jitter."""
    longest, first = policy.longest_wait.total_seconds(), policy.first_wait.total_seconds()
    wait = timedelta(seconds=min(longest, first * policy.factor ** min(attempt - 1, 64)))
    return wait * (1 + policy.jitter * random.uniform(-1, 1))  # noqa: S311  jitter, not a secret


def _again(
    wait: timedelta,
    reason: str,
    *,
    attempt: int,
    age: timedelta,
    policy: Policy,
    uncertain: bool = False,
) -> Outcome:
    if attempt >= policy.tries:
        return Outcome(
            "dead+" if uncertain else "dead", reason=f"attempt {attempt} of {policy.tries} failed: {reason}"
        )
    if age + wait > policy.horizon:
        return Outcome(
            "dead+" if uncertain else "dead", reason=f"older than {policy.horizon} at the next attempt: {reason}"
        )
    return Outcome("retry+" if uncertain else "retry", wait, reason)
