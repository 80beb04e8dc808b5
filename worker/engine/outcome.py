"""What becomes of a job after an attempt: a pure decision over values.

| what happened                                   | outcome                                        |
|-------------------------------------------------|------------------------------------------------|
| the handler returned                            | done                                           |
| it raised Suppress                              | suppressed: ended without being carried out    |
| it raised GiveUp                                | dead                                           |
| it raised TryLater, or any other error          | retry by the policy; dead past tries or age    |
| it raised TryLater(charged=False)               | defer: no attempt is counted                   |
| it raised TryLater(charged=False, bounded=True) | the same, within the policy's horizon          |
| it ran out of its time                          | retry by the policy                            |
| the worker stopped it (shutdown, lease lost)    | defer                                          |
| it raised arq's Retry                           | retry after what it says                       |
| it raised Park                                  | park: it waits, uncharged, until people decide |

Any other error means any: SystemExit, KeyboardInterrupt, arq's RetryJob, a CancelledError that nobody asked for.

A retry that would start after the job's deadline is put off until the deadline, whatever the horizon: the job then
comes up and ends as expired, which is what its sender asked for. The policy's last attempt is dead all the same.

A handler's own words are certain. When it was cancelled, or failed by accident, after its effect had begun,
nobody knows whether the effect took place: the outcome is the same with a ``+``, which is counted as
uncertain.
"""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Literal

from arq.worker import Retry

from jobs import Policy


class _Word(Exception):
    """A handler's word. Its reason may hold what a server said of a person, and is for the job's history alone."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class GiveUp(_Word):
    """A handler's word that no later attempt can succeed. The job becomes dead, with the reason."""


class TryLater(_Word):
    """A handler's word that a later attempt may succeed.

    Args:
        reason: kept in the job's history; may hold a server's reply, so it does not go to the log.
        after: how long to wait; left out, the policy decides.
        charged: False when the wait is not the job's fault (a limit, a pause, an account's quota).
        bounded: an uncharged wait ends with the policy's horizon all the same. It is as long as the job has waited
            already, at least ``after``, so that a job that is put off and put off is not tried every few seconds.
        uncertain: the effect began and nobody knows whether it took place.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: timedelta | None = None,
        charged: bool = True,
        bounded: bool = False,
        uncertain: bool = False,
    ) -> None:
        super().__init__(reason)
        if not isinstance(after, timedelta | None):
            raise TypeError(f"after: must be a timedelta or None, not {type(after).__name__}")
        self.reason = reason
        self.after = after
        self.charged = charged
        self.bounded = bounded
        self.uncertain = uncertain


class Park(_Word):
    """A handler's word that the job is to wait until people decide, as it is and uncharged: ``ops unpark``.

    Args:
        reason: told to people; may hold a server's reply, so it does not go to the log.
        why: one word for this sort of waiting, by which people and metrics tell it from others.
        uncertain: the effect began and nobody knows whether it took place.

    Raises:
        ValueError: a word that is the engine's own.
    """

    def __init__(self, reason: str, *, why: str = "decision", uncertain: bool = False) -> None:
        if why in ("kind", "version"):
            raise ValueError(f"why: {why!r} is for jobs that a worker cannot run")
        super().__init__(reason)
        self.reason = reason
        self.why = why
        self.uncertain = uncertain


class Suppress(Exception):
    """A handler's word that the job ends here without being carried out, as was asked for before: counted apart.

    Args:
        result: kept in the place of what the handler would have returned.
    """

    def __init__(self, result: object) -> None:
        super().__init__("not carried out")
        self.result = result


class TimedOut(Exception):
    """An attempt took longer than it may.

    Args:
        stopped: whether its handler ended when it was cancelled.
    """

    def __init__(self, limit: timedelta | None, *, stopped: bool = True) -> None:
        seconds = 0 if limit is None else limit.total_seconds()
        super().__init__(f"no end within {seconds:g} s" + ("" if stopped else ", nor when it was cancelled"))


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
    """What to record.

    Attributes:
        delay: for retry, defer and park, in Redis's time.
        why, needs: for park: the sort of waiting, and what the job waits for, ``kind@version``.
    """

    kind: OutcomeKind
    delay: timedelta = timedelta(0)
    reason: str = field(default="", repr=False)
    why: str = ""
    needs: str = ""


RELOOK = timedelta(hours=1)
"""After which a worker looks again at a job that none could run; each that can lets it go at its own start."""
FOR_GOOD = timedelta(days=36_525)
"""As good as for ever: until people decide."""
DONE = Outcome("done")
_UNCHARGED_WAIT = timedelta(seconds=30)
_REASON_LIMIT = 4000
"""Characters of a reason that are kept."""


def decide(  # noqa: PLR0911  one return per row of the table above
    error: BaseException | None,
    *,
    attempt: int,
    age: timedelta,
    policy: Policy,
    effect_begun: bool = False,
    stopped: bool = False,
    left: timedelta | None = None,
) -> Outcome:
    """The outcome of one attempt.

    Args:
        error: what the handler raised, or None when it returned.
        attempt: this one's number, from 1.
        age: since the job was enqueued, or was to run first.
        effect_begun: whether the handler had begun an effect that cannot be taken back.
        stopped: whether the worker told the handler to stop.
        left: how long until the job's deadline, if it has one.
    """
    again = partial(_again, attempt=attempt, age=age, policy=policy, left=left)
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
            return _put_off(error, age, policy, left)
        case TryLater(charged=False):
            return Outcome("defer", _UNCHARGED_WAIT if error.after is None else error.after, error.reason)
        case asyncio.CancelledError() if stopped:
            return Outcome("defer+" if effect_begun else "defer")
        case Retry():
            wait = timedelta(milliseconds=error.defer_score or 0)
            return again(wait, f"Retry asked for {wait}")
        case TryLater():
            wait = wait_before(attempt, policy) if error.after is None else error.after
            return again(wait, error.reason, uncertain=error.uncertain)
        case _:
            wait = wait_before(attempt, policy)
            return again(wait, words_of(error), uncertain=effect_begun)


def words_of(error: BaseException) -> str:
    """Type and words of an error, also of one whose words cannot be read."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  of whatever sort: it is somebody else's class
        words = "its words cannot be read"
    return f"{type(error).__name__}: {words}"


def plain_text(reason: object) -> str:
    r"""A reason as it can be kept: text that UTF-8 has, and not without end.

    >>> plain_text("a lone \udc80 surrogate")
    'a lone \\udc80 surrogate'
    """
    text = str(reason)[:_REASON_LIMIT]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def wait_before(attempt: int, policy: Policy) -> timedelta:
    """The policy's wait after this attempt failed, with its jitter."""
    longest, first = policy.longest_wait.total_seconds(), policy.first_wait.total_seconds()
    wait = timedelta(seconds=min(longest, first * policy.factor ** min(attempt - 1, 64)))
    return wait * _moved(policy)


def _put_off(error: TryLater, age: timedelta, policy: Policy, left: timedelta | None) -> Outcome:
    """Later, uncharged, but not later than the policy's horizon."""
    backing_off = min(policy.longest_wait, max(policy.first_wait, age)) * _moved(policy)
    wait = max(error.after or timedelta(0), backing_off)
    if left is not None and wait >= left:
        return Outcome("defer", max(left, timedelta(0)), error.reason)
    if age + wait > policy.horizon:
        return Outcome("dead", reason=f"older than {policy.horizon} at the next attempt: {error.reason}")
    return Outcome("defer", wait, error.reason)


def _moved(policy: Policy) -> float:
    return 1 + policy.jitter * random.uniform(-1, 1)  # noqa: S311  jitter, not a secret


def _again(
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
        return Outcome(
            "dead+" if uncertain else "dead", reason=f"older than {policy.horizon} at the next attempt: {reason}"
        )
    return Outcome("retry+" if uncertain else "retry", wait, reason)
