"""The outcome of an attempt: a pure decision over values.

| event                                           | outcome                                        |
|-------------------------------------------------|------------------------------------------------|
| the handler returned                            | done                                           |
| it raised Suppress                              | suppressed: ended without being carried out    |
| it raised GiveUp                                | dead                                           |
| it raised TryLater, or any other error          | retry by the policy; dead past tries or age    |
| it raised TryLater(charged=False)               | defer: no attempt is counted                   |
| it raised TryLater(charged=False, bounded=True) | the same, within the policy's horizon          |
| its time limit passed                           | retry by the policy                            |
| the worker stopped it (shutdown, lease lost)    | defer                                          |
| it raised arq's Retry                           | retry after the wait that Retry names          |
| it raised Park                                  | park: it waits, uncharged, for an operator     |

"Any other error" includes SystemExit, KeyboardInterrupt, arq's RetryJob, and a CancelledError that the worker did
not cause.

A retry that would start after the job's deadline is scheduled at the deadline, regardless of the horizon: the job
then ends as expired, as its sender requested. After the policy's last attempt the job is dead all the same.

The handler's own exceptions (GiveUp, TryLater, Park, Suppress) are certain. If it was cancelled or failed with
another error after its effect had begun, the effect may or may not have taken place: the outcome is the same with
a ``+``, which is counted as uncertain.
"""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Literal

from arq.worker import Retry

from jobs import Policy
from jobs.decisions import GiveUp as GiveUp, Park as Park, TryLater as TryLater


class Suppress(Exception):
    """A handler's decision that the job ends without being carried out, by an earlier request; counted separately.

    Args:
        result: stored in place of the handler's return value.
    """

    def __init__(self, result: object) -> None:
        super().__init__("not carried out")
        self.result = result


class TimedOut(Exception):
    """An attempt exceeded its time limit.

    Args:
        stopped: True if its handler ended on its cancellation.
    """

    def __init__(self, limit: timedelta | None, *, stopped: bool = True) -> None:
        seconds = 0 if limit is None else limit.total_seconds()
        ignored = "" if stopped else " and did not end on its cancellation"
        super().__init__(f"the handler ran longer than {seconds:g} s{ignored}")


OutcomeKind = Literal[
    "done",
    "suppressed",
    "dead",
    "dead+",
    "expired",
    "cancelled",
    "cancelled+",
    "retry",
    "retry+",
    "defer",
    "defer+",
    "park",
    "park+",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attempt, to be recorded.

    Attributes:
        delay: for retry, defer and park, in Redis's time.
        why, needs: for park: the type of waiting, and the needed ``kind@version``.
    """

    kind: OutcomeKind
    delay: timedelta = timedelta(0)
    reason: str = field(default="", repr=False)
    why: str = ""
    needs: str = ""


RELOOK = timedelta(hours=1)
"""Wait until a worker claims a parked job again; a worker that can run it releases it earlier, at its start."""
FOR_GOOD = timedelta(days=36_525)
"""A hundred years: until an operator decides."""
DONE = Outcome("done")
_UNCHARGED_WAIT = timedelta(seconds=30)
_REASON_LIMIT = 4000
"""Largest number of characters of a stored reason."""


def decide_outcome(  # noqa: PLR0911  one return per row of the table above
    error: BaseException | None,
    *,
    attempt: int,
    age: timedelta,
    policy: Policy,
    effect_begun: bool = False,
    stopped: bool = False,
    left: timedelta | None = None,
) -> Outcome:
    """Return the outcome of one attempt.

    Args:
        error: the handler's exception, or None if it returned.
        attempt: number of this attempt, from 1.
        age: time since the job was enqueued, or since its requested delay ended.
        effect_begun: True if the handler had begun an effect that cannot be undone.
        stopped: True if the worker stopped the handler.
        left: time until the job's deadline, if it has one.
    """
    again = partial(_retry, attempt=attempt, age=age, policy=policy, left=left)
    match error:
        case None:
            return DONE
        case Suppress():
            return Outcome("suppressed")
        case GiveUp():
            return Outcome("dead", reason=str(error))
        case Park():
            kind: OutcomeKind = "park+" if error.uncertain else "park"
            return Outcome(kind, FOR_GOOD, error.reason, why=error.why)
        case TryLater(charged=False, bounded=True):
            return _defer(error, age, policy, left)
        case TryLater(charged=False):
            return Outcome("defer", _UNCHARGED_WAIT if error.after is None else error.after, error.reason)
        case asyncio.CancelledError() if stopped:
            return Outcome("defer+" if effect_begun else "defer")
        case Retry():
            wait = timedelta(milliseconds=error.defer_score or 0)
            return again(wait, f"Retry requested after {wait}")
        case TryLater():
            wait = wait_before(attempt, policy) if error.after is None else error.after
            return again(wait, error.reason, uncertain=error.uncertain)
        case _:
            wait = wait_before(attempt, policy)
            return again(wait, error_text(error), uncertain=effect_begun)


def error_text(error: BaseException) -> str:
    """Return type and message of an error, even if its ``str`` raises."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  any: the class may come from any library
        message = "its message cannot be read"
    return f"{type(error).__name__}: {message}"


def plain_text(reason: object) -> str:
    r"""Return a reason as it can be stored: valid UTF-8, cut to the longest length.

    >>> plain_text("a lone \udc80 surrogate")
    'a lone \\udc80 surrogate'
    """
    text = str(reason)[:_REASON_LIMIT]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def wait_before(attempt: int, policy: Policy) -> timedelta:
    """Return the policy's wait after this failed attempt, with jitter."""
    longest, first = policy.longest_wait.total_seconds(), policy.first_wait.total_seconds()
    wait = timedelta(seconds=min(longest, first * policy.factor ** min(attempt - 1, 64)))
    return wait * _jitter(policy)


def _defer(error: TryLater, age: timedelta, policy: Policy, left: timedelta | None) -> Outcome:
    """Return an uncharged deferral within the policy's horizon, or dead beyond it."""
    backing_off = min(policy.longest_wait, max(policy.first_wait, age)) * _jitter(policy)
    wait = max(error.after or timedelta(0), backing_off)
    if left is not None and wait >= left:
        return Outcome("defer", max(left, timedelta(0)), error.reason)
    if age + wait > policy.horizon:
        return Outcome("dead", reason=_too_old(policy, error.reason))
    return Outcome("defer", wait, error.reason)


def _too_old(policy: Policy, reason: str) -> str:
    return f"the job would be older than {policy.horizon} at the next attempt: {reason}"


def _jitter(policy: Policy) -> float:
    return 1 + policy.jitter * random.uniform(-1, 1)  # noqa: S311  jitter, not a secret


def _retry(
    wait: timedelta,
    reason: str,
    *,
    attempt: int,
    age: timedelta,
    policy: Policy,
    left: timedelta | None,
    uncertain: bool = False,
) -> Outcome:
    if attempt >= policy.tries:
        return Outcome(
            "dead+" if uncertain else "dead", reason=f"attempt {attempt} of {policy.tries} failed: {reason}"
        )
    if left is not None and wait >= left:
        return Outcome("retry+" if uncertain else "retry", max(left, timedelta(0)), reason)
    if age + wait > policy.horizon:
        return Outcome("dead+" if uncertain else "dead", reason=_too_old(policy, reason))
    return Outcome("retry+" if uncertain else "retry", wait, reason)
