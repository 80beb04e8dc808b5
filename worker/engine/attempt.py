"""One attempt of one job: from stored bytes to an outcome. The job's own failure is an outcome, not an exception.

Every exception of a handler is a failure of its job, BaseException included: a handler cannot end the worker.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import orjson
from arq.worker import Function

from jobs import Policy
from jobs.decisions import HandlerDecision, TryLater
from producers.envelope import Envelope
from worker.engine.admit import AdmittedJob, Rejection, admit_claim
from worker.engine.effect_marks import EarlierEffect, JobHasEnded, LedgerMarking, LedgerRefusal, day_of_reply
from worker.engine.lane import Claim, Lane
from worker.engine.outcome import (
    DONE,
    FOR_GOOD,
    Outcome,
    OutcomeKind,
    Suppress,
    TimedOut,
    decide_outcome,
    plain_text,
)
from worker.engine.parking import parking_note
from worker.engine.progress import Progress
from worker.events import EventName, bind_fields, emit, event
from worker.tracing import attempt_span, attempt_trace, conclude_attempt_span, current_trace_id

if TYPE_CHECKING:
    from worker.span_recorder import AttemptTrace

_JOB_HOOK_FAILED = event("job.hook_failed")

_JOB_STARTED = event("job.started")
_OUTCOME_EVENTS: Mapping[str, EventName] = {kind: event(f"job.{kind}") for kind in get_args(OutcomeKind)}

Hook = Callable[[dict[Any, Any]], Awaitable[None]]
_SUCCESSES = {"done", "suppressed"}
_NOT_HAPPENED = {"retry", "defer", "park", "dead"}
"""Outcomes that say that the effect did not happen; the job continues, or may be revived."""
StopReason = Literal["shutdown", "lost", "cancelled", "time"]
"""The reason to stop an attempt: the worker ends, the lease is lost, the job was cancelled, the time is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """The functions of a worker, with their policies, hooks and limits.

    Attributes:
        functions: by kind.
        policies: by kind; ``default`` for the others.
        context: the entries of every handler's ``ctx``.
        keep_result: time to keep a result, unless the function sets it; zero for not at all.
        keep_for_good: True to keep every result forever instead, unless the function sets it.
        time_limit: the longest time of an attempt, unless the function sets it; None for no limit.
        before, after: hooks around every attempt.
        ledger_marks: stores the marks of the ledger's jobs; None if this worker has no ledger.
    """

    functions: Mapping[str, Function]
    policies: Mapping[str, Policy]
    default: Policy
    context: dict[Any, Any] = field(repr=False)
    keep_result: timedelta
    keep_for_good: bool = False
    time_limit: timedelta | None = None
    before: Hook | None = None
    after: Hook | None = None
    ledger_marks: LedgerMarking | None = None

    def result_life(self, kind: str) -> timedelta:
        """Return the time to keep the result of a job of this kind."""
        function = self.functions.get(kind)
        for_good = None if function is None else function.keep_result_forever
        if self.keep_for_good if for_good is None else for_good:  # either wins over a time, as in arq
            return FOR_GOOD
        own = None if function is None else function.keep_result_s
        return self.keep_result if own is None else timedelta(seconds=own)

    def limit_of(self, function: Function) -> timedelta:
        """Return the time limit of an attempt of this function, zero if it has none."""
        if function.timeout_s is None:
            return self.time_limit or timedelta(0)
        return timedelta(seconds=function.timeout_s)


class Effect:
    """The mark before an effect that cannot be undone; handlers call it as ``ctx["begin_effect"]``.

    Args:
        mark: stores the mark of a claim durably, under a key and with a note; see ``EffectMarks.make_mark``.
    """

    __slots__ = ("_claim", "_day", "_key", "_mark", "_marks", "_may_be_marked", "begun", "refusal")
    # The claim is not bound in a partial: each object of an attempt is one more for Python's collector, which runs
    # whenever 700 more are alive, and then costs a quarter of an attempt.

    def __init__(self, mark: Callable[[Claim, str, str], Awaitable[int]], claim: Claim, key: str) -> None:
        self._mark, self._claim, self._key = mark, claim, key
        self._day: int | None = None
        self._marks: LedgerMarking | None = None
        self._may_be_marked = False
        self.begun = False
        self.refusal: LedgerRefusal | None = None
        """Set if the ledger refused the mark: it alone knows that the job has ended, or it cannot be queried."""

    def mark_in_ledger(self, day: int | None, marks: LedgerMarking | None) -> None:
        """Store the mark in the ledger too, if the job has a row there.

        Args:
            day: of its row; None if its envelope has none, so that Redis reports whether it has one by now.
            marks: those of this worker's ledger; None if it has none, so that no effect of a job with a row may
                begin here.
        """
        self._day, self._marks = day, marks

    async def begin(self, note: str = "") -> bool:
        """Store the mark. After False or an exception the effect must not happen.

        The effect may begin only after its mark is stored. So an attempt that is stopped while it waits for its
        mark, or fails to store it, has certainly not caused the effect.

        Args:
            note: text about the effect for the history, used if its outcome stays unknown.
        """
        made = await (self._begin_in_redis(note) if self._day is None else self._begin_in_both(self._day, note))
        self.begun = self.begun or made
        return made

    async def _begin_in_redis(self, note: str) -> bool:
        """Store the mark in Redis; in the ledger as well if its row was handed over while the job ran."""
        made = await self._mark(self._claim, self._key, note)
        self._day = day_of_reply(made)
        if self._day is not None:
            await self._begin_in_ledger(self._day, note)
        return bool(made)

    async def _begin_in_both(self, day: int, note: str) -> bool:
        """Store both marks, and wait for both even if one fails: a mark that is being stored cannot be removed."""
        marking = self._mark(self._claim, self._key, note)
        made, stored = await asyncio.gather(marking, self._begin_in_ledger(day, note), return_exceptions=True)
        for one in (stored, made):
            if isinstance(one, BaseException):
                raise one
        return bool(made)

    async def _begin_in_ledger(self, day: int, note: str) -> None:
        try:
            await self._store_in_ledger(day, note)
        except EarlierEffect:
            self.begun, self._may_be_marked = True, False
            raise
        except LedgerRefusal as refusal:
            self.refusal = refusal
            raise

    async def _store_in_ledger(self, day: int, note: str) -> None:
        if self._marks is None:
            raise LedgerRefusal(
                "MOMENTUS_POSTGRES_DSN: is not set, and a job of the ledger needs it; set it for this worker"
            )
        self._may_be_marked = True
        claim = self._claim
        await self._marks.store(day, claim.id, claim.attempt, note, token=claim.token, counted=claim.effect)

    async def release(self) -> None:
        """Remove the mark from the ledger, because the effect did not happen; if that fails, the doubt stays."""
        if self._day is not None and self._marks is not None and self._may_be_marked:
            with contextlib.suppress(asyncio.CancelledError, LedgerRefusal):  # the outcome is known by now
                await self._marks.release(self._day, self._claim.id, self._claim.attempt, token=self._claim.token)

    async def count(self) -> None:
        """Note in the ledger that the effect is counted as uncertain, so that no later attempt counts it again."""
        if self._day is not None and self._marks is not None:
            with contextlib.suppress(asyncio.CancelledError, LedgerRefusal):  # as above
                await self._marks.count(self._day, self._claim.id, self._claim.attempt)


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there is one for each attempt
class AttemptResult:
    """The outcome of an attempt, with the result's bytes and life. A parked job has its note as the result.

    Attributes:
        result: empty if no result is kept.
    """

    outcome: Outcome
    result: bytes = field(default=b"", repr=False)
    life: timedelta = timedelta(0)


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    """A running attempt of a job.

    Attributes:
        stop: stops an attempt, with a reason.
        began: True after its handler was called.
        stopped: the reason for which it was stopped; None until then.
        limit: its time limit.
        over: True once its outcome is known; the handler cannot change it any more.
        left_behind: True while its handler still runs though the attempt was given up.
        older: an attempt of the same job that still ran in this worker when this one was claimed.
        kind: of its job; "" until its envelope is read.
        error: the class of the error that it ended with; "" for none.
        cause: the class of what a handler's decision was raised from, or of the error itself.
        trace: its span and that of its sender, if this worker traces.
    """

    lane: Lane
    claim: Claim
    effect: Effect
    progress: Progress
    stop: "Callable[[Attempt, StopReason], None]"
    task: "asyncio.Task[None] | None" = None
    stopped: StopReason | None = None
    limit: timedelta | None = None
    began: bool = False
    over: bool = False
    left_behind: bool = False
    older: "Attempt | None" = None
    timer: asyncio.TimerHandle | None = None
    kind: str = ""
    error: str = ""
    cause: str = ""
    trace: "AttemptTrace | None" = None

    @property
    def runs(self) -> bool:
        """True while its task runs, even after the attempt was given up."""
        return self.task is not None and not self.task.done()

    def __repr__(self) -> str:
        return f"<Attempt {self.claim.id} {self.claim.token}>"

    async def begin_effect(self, note: str = "") -> bool:
        """Store the mark of an effect. After False (lease lost, or attempt given up) it must not happen."""
        return not self.over and await self.effect.begin(note) and not self.over

    def begin_time(self) -> None:
        """Start or restart the attempt's time limit."""
        self.hold_time()
        if self.limit is not None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(self.limit.total_seconds(), self.stop, self, "time")

    def hold_time(self) -> None:
        """Stop the attempt's time limit; a handler that must wait for a place to run starts it later."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def recorded_error(self, raised: BaseException) -> BaseException:
        """Return the failure to record: TimedOut for the cancellation of a handler whose time was up."""
        if isinstance(raised, asyncio.CancelledError) and self.stopped == "time":
            return TimedOut(self.limit)
        return raised


async def run_attempt(attempt: Attempt, handlers: Handlers) -> AttemptResult:
    """Run a claimed job once, if this worker can run it."""
    claim = attempt.claim
    admitted = admit_claim(claim, handlers.functions)
    attempt.kind = admitted.envelope.kind if admitted.envelope else ""
    bind_fields(job_id=claim.id, kind=attempt.kind, lane=claim.lane, attempt=claim.attempt)
    if isinstance(admitted, Rejection):
        return _reject(admitted, claim, handlers)
    try:
        return await _run(attempt, admitted, handlers)
    finally:
        attempt.progress.close()


async def run_traced_attempt(attempt: Attempt, handlers: Handlers) -> AttemptResult:
    """Run a claimed job as :func:`run_attempt` does, in a span."""
    admitted = admit_claim(
        attempt.claim, handlers.functions
    )  # twice, so that an attempt without a span pays nothing
    with attempt_span(attempt.claim, admitted.envelope) as stage:
        attempt.trace = attempt_trace(admitted.envelope)
        bind_fields(trace_id=current_trace_id())
        ended = await run_attempt(attempt, handlers)
        conclude_attempt_span(stage, ended.outcome.kind, attempt.cause, stopped=attempt.stopped or "")
        return ended


def conclude_attempt(attempt: Attempt, handlers: Handlers, error: BaseException) -> AttemptResult:
    """End an attempt without its handler, as if the handler had raised this error."""
    admitted = admit_claim(attempt.claim, handlers.functions)
    if isinstance(admitted, Rejection):
        return _reject(admitted, attempt.claim, handlers)
    outcome = _decide(error, attempt, admitted.envelope, handlers)
    return _conclude(attempt, admitted.envelope, handlers, outcome, error=error)


def _reject(rejection: Rejection, claim: Claim, handlers: Handlers) -> AttemptResult:
    outcome, envelope = rejection.outcome, rejection.envelope
    emit(rejection.event, **rejection.fields)
    if outcome.kind == "park" or envelope is None:
        return _attempt_result(outcome)
    life = handlers.result_life(envelope.kind)
    return _attempt_result(outcome, _result(None, claim, envelope, outcome, life), life)


async def _run(attempt: Attempt, admitted: AdmittedJob, handlers: Handlers) -> AttemptResult:
    envelope = admitted.envelope
    context = _context(handlers, attempt, envelope)
    value, error = None, None
    emit(_JOB_STARTED)
    function = admitted.function
    if not (function.timeout_s is None and handlers.time_limit is None):
        attempt.limit = handlers.limit_of(function)
        attempt.begin_time()
    attempt.began = True
    attempt.effect.mark_in_ledger(envelope.ledger_day, handlers.ledger_marks)
    try:
        if handlers.before:
            await handlers.before(context)
        value = await function.coroutine(context, *envelope.arguments, **admitted.payload)
    except BaseException as raised:  # noqa: BLE001  every exception of a handler is its outcome
        _reraise_close(raised, attempt)
        error = _explain_by_refusal(attempt.recorded_error(raised), attempt.effect)
    finally:
        attempt.hold_time()
    outcome = DONE if error is None else _decide(error, attempt, envelope, handlers)
    if handlers.after:
        await _after(handlers.after, context, attempt)
    if isinstance(error, Suppress):
        value = error.result
    if outcome.kind in _NOT_HAPPENED:
        await attempt.effect.release()
    elif outcome.kind.endswith("+"):
        await attempt.effect.count()
    return _conclude(attempt, envelope, handlers, outcome, error=error, value=value)


def _explain_by_refusal(error: BaseException, effect: Effect) -> BaseException:
    """Return the failure of an attempt; if the ledger refused its mark, one that is not the job's fault."""
    refusal = effect.refusal
    if isinstance(refusal, JobHasEnded):
        return Suppress({"state": "ended", "reason": str(refusal)})
    if refusal is None or effect.begun or not isinstance(error, Exception) or isinstance(error, HandlerDecision):
        return error
    return TryLater(f"the ledger: {refusal}", charged=False, bounded=True)


def _reraise_close(raised: BaseException, attempt: Attempt) -> None:
    """Re-raise the GeneratorExit with which Python closes a coroutine that has no running task."""
    if isinstance(raised, GeneratorExit) and (attempt.task is None or not _is_current(attempt.task)):
        raise raised


def _is_current(task: "asyncio.Task[None]") -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs
        return False


async def _after(hook: Hook, context: dict[Any, Any], attempt: Attempt) -> None:
    """Call the hook after an attempt; its failure does not change the outcome."""
    try:
        await hook(context)
    except BaseException as raised:  # noqa: BLE001  a hook cannot end the worker either
        _reraise_close(raised, attempt)
        emit(_JOB_HOOK_FAILED, error=type(raised).__name__)


def _conclude(
    attempt: Attempt,
    envelope: Envelope,
    handlers: Handlers,
    outcome: Outcome,
    *,
    error: BaseException | None,
    value: object = None,
) -> AttemptResult:
    if error is not None:
        attempt.error = type(error).__name__
        attempt.cause = type(error.__cause__ or error).__name__
    emit(_OUTCOME_EVENTS[outcome.kind], **_log_fields(error, attempt.claim))
    life = handlers.result_life(envelope.kind)
    return _attempt_result(outcome, _result(value, attempt.claim, envelope, outcome, life), life)


def _decide(error: BaseException, attempt: Attempt, envelope: Envelope, handlers: Handlers) -> Outcome:
    claim = attempt.claim
    left = None if envelope.expires_ms is None else envelope.expires_ms - claim.claimed_ms
    decided = partial(
        decide_outcome,
        attempt=claim.attempt,
        age=_age(claim, envelope),
        policy=handlers.policies.get(envelope.kind, handlers.default),
        effect_begun=attempt.effect.begun,
        stopped=attempt.stopped is not None,
        left=None if left is None else timedelta(milliseconds=left),
    )
    try:
        return decided(error)
    except Exception:  # noqa: BLE001  a wait beyond the range of dates is a failure like any other
        return decided(RuntimeError(f"after: the wait of {type(error).__name__} is out of range; shorten it"))


def _attempt_result(outcome: Outcome, result: bytes = b"", life: timedelta = timedelta(0)) -> AttemptResult:
    return AttemptResult(outcome, parking_note(outcome) if outcome.why else result, life)


def _context(handlers: Handlers, attempt: Attempt, envelope: Envelope) -> dict[Any, Any]:
    """Return the handler's ``ctx``."""
    claim = attempt.claim
    return {
        **handlers.context,
        "job_id": claim.id,
        "job_try": claim.attempt,
        "enqueue_time": datetime.fromtimestamp(max(0, envelope.since_ms - envelope.delay_ms) / 1000, UTC),
        "score": claim.due_ms,
        "age": _age(claim, envelope),
        "unknown_effect": claim.effect,
        "limit": claim.limit,
        "lane": claim.lane,
        "begin_effect": attempt.begin_effect,
        "progress": attempt.progress,
        "attempt": attempt,
    }


def _age(claim: Claim, envelope: Envelope) -> timedelta:
    """Return the time from the enqueue, or from the end of the requested delay, to the claim."""
    return timedelta(milliseconds=max(0, claim.claimed_ms - envelope.since_ms))


def _log_fields(error: BaseException | None, claim: Claim) -> dict[str, object]:
    """Return the log fields: only the types of the error and its cause, because messages may quote the job."""
    fields: dict[str, object] = {"waited_ms": max(0, claim.claimed_ms - claim.due_ms)}
    if error is not None:
        fields["error"] = type(error).__name__
    if error is not None and error.__cause__ is not None:
        fields["cause"] = type(error.__cause__).__name__
    return fields


def _result(value: object, claim: Claim, envelope: Envelope, outcome: Outcome, keep: timedelta) -> bytes:
    """Return arq's result as JSON, without the payload: the content of a job is not kept a second time."""
    if not keep or outcome.kind not in {"done", "suppressed", "dead", "dead+", "expired"}:
        return b""
    content = {
        "t": claim.attempt,
        "f": envelope.kind,
        "a": [],
        "k": {},
        "et": envelope.enqueued_ms,
        "s": outcome.kind in _SUCCESSES,
        "r": value if outcome.kind in _SUCCESSES else plain_text(outcome.reason),
        "st": claim.claimed_ms,
        "ft": round(time.time() * 1000),
        "q": claim.lane,
        "id": claim.id,
    }
    if outcome.kind in {"expired", "suppressed"}:
        content["o"] = outcome.kind
    try:
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer over 64 bits, a lone surrogate; the job stays done
        return orjson.dumps({**content, "r": f"result: a {type(value).__name__} that JSON cannot hold"})
