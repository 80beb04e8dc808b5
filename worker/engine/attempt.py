"""One attempt of one job: from stored octets to an outcome. Never raises for the job's own failure.

Anything that a handler raises is its failure, BaseException included: a handler has no say in the worker's end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, get_args

import orjson
from arq.worker import Function

from jobs import Policy
from producers.envelope import Envelope
from worker.engine.admit import AdmittedJob, Rejection, admit
from worker.engine.lane import Claim, Lane
from worker.engine.outcome import DONE, FOR_GOOD, Outcome, OutcomeKind, Suppress, TimedOut, decide
from worker.engine.parking import note
from worker.engine.progress import Progress
from worker.events import EventName, bind, emit, event

_JOB_HOOK_FAILED = event("job.hook_failed")

_JOB_STARTED = event("job.started")
_ENDED: Mapping[str, EventName] = {kind: event(f"job.{kind}") for kind in get_args(OutcomeKind)}

Hook = Callable[[dict[Any, Any]], Awaitable[None]]
_ENDED_WELL = {"done", "suppressed"}
Stop = Literal["shutdown", "lost", "cancelled", "time"]
"""Why an attempt is told to stop: the worker ends, the lease is lost, its job was cancelled, its time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What a worker can run.

    Attributes:
        functions: by kind.
        policies: by kind; ``default`` for the others.
        context: what every handler finds in ``ctx``.
        keep_result: how long a result is kept, unless the function says; zero for not at all.
        keep_for_good: whether every result is kept for good instead, unless the function says.
        time_limit: how long an attempt may take, unless the function says; None for no limit.
        before, after: hooks around every attempt.
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

    def keep(self, kind: str) -> timedelta:
        """How long the result of a job of this kind is kept."""
        function = self.functions.get(kind)
        for_good = None if function is None else function.keep_result_forever
        if self.keep_for_good if for_good is None else for_good:  # either wins over a time, as in arq
            return FOR_GOOD
        own = None if function is None else function.keep_result_s
        return self.keep_result if own is None else timedelta(seconds=own)

    def limit(self, function: Function) -> timedelta:
        """How long an attempt of this function may take, if anything limits it."""
        if function.timeout_s is None:
            return self.time_limit or timedelta(0)
        return timedelta(seconds=function.timeout_s)


class Effect:
    """The mark before an effect that cannot be taken back; handlers find it as ``begin_effect``.

    Args:
        mark: makes it durable for a claim, under a key and with a note; False when the lease was lost.
    """

    __slots__ = ("_claim", "_key", "_mark", "begun")
    # Nothing is bound to the claim in a partial: each object of an attempt is one more for Python's collector,
    # which runs whenever 700 more are alive, and then costs a quarter of an attempt.

    def __init__(self, mark: Callable[[Claim, str, str], Awaitable[bool]], claim: Claim, key: str) -> None:
        self._mark, self._claim, self._key = mark, claim, key
        self.begun = False

    async def begin(self, note: str = "") -> bool:
        """Make the mark; False, or an error, means that the effect must not happen.

        Only a mark that was made lets the effect begin. So an attempt that is stopped while it waits for its mark,
        or whose mark fails, ends with certainty: it has caused nothing.

        Args:
            note: what the history is to say of the effect if nobody ever tells how it ended.
        """
        made = await self._mark(self._claim, self._key, note)
        self.begun = self.begun or made
        return made


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there is one for each attempt
class AttemptResult:
    """The outcome, the result's octets (empty when none is kept) and life; of a parked job its note."""

    outcome: Outcome
    result: bytes = field(default=b"", repr=False)
    life: timedelta = timedelta(0)


@dataclass(slots=True, eq=False, repr=False)
class Attempt:
    """One attempt at work.

    Attributes:
        stop: tells this attempt to stop, with a reason.
        began: whether its handler was called.
        stopped: why it was told to stop; None while it was not.
        limit: how long it may take.
        over: whether its outcome is known: whatever its handler still does counts no more.
        older: an attempt of the same job that still ran here when this one was claimed.
    """

    lane: Lane
    claim: Claim
    effect: Effect
    progress: Progress
    stop: "Callable[[Attempt, Stop], None]"
    task: "asyncio.Task[None] | None" = None
    stopped: Stop | None = None
    limit: timedelta | None = None
    began: bool = False
    over: bool = False
    older: "Attempt | None" = None

    @property
    def runs(self) -> bool:
        """Whether its task has not ended, given up or not."""
        return self.task is not None and not self.task.done()

    def __repr__(self) -> str:
        return f"<Attempt {self.claim.id} {self.claim.token}>"

    async def begin_effect(self, note: str = "") -> bool:
        """Make the mark before an effect; False, also once the attempt was given up: it must not happen."""
        return not self.over and await self.effect.begin(note) and not self.over

    def meaning_of(self, raised: BaseException) -> BaseException:
        """The failure, for a handler that was cancelled because its time was over."""
        if isinstance(raised, asyncio.CancelledError) and self.stopped == "time":
            return TimedOut(self.limit)
        return raised


async def run(it: Attempt, handlers: Handlers) -> AttemptResult:
    """Run a claimed job once, if it can be run here."""
    claim = it.claim
    admitted = admit(claim, handlers.functions)
    kind = admitted.envelope.kind if admitted.envelope else ""
    bind(job_id=claim.id, kind=kind, lane=claim.lane, attempt=claim.attempt)
    if isinstance(admitted, Rejection):
        return _turned_away(admitted, claim, handlers)
    try:
        return await _run(it, admitted, handlers)
    finally:
        it.progress.close()


def conclude(it: Attempt, handlers: Handlers, error: BaseException) -> AttemptResult:
    """End an attempt from outside, as if its handler had failed with this error."""
    admitted = admit(it.claim, handlers.functions)
    if isinstance(admitted, Rejection):
        return _turned_away(admitted, it.claim, handlers)
    outcome = _decide(error, it, admitted.envelope, handlers)
    return _tell(it, admitted.envelope, handlers, outcome, error=error)


def _turned_away(it: Rejection, claim: Claim, handlers: Handlers) -> AttemptResult:
    emit(it.event, **it.told)
    if it.outcome.kind == "park" or it.envelope is None:
        return _ended(it.outcome)
    life = handlers.keep(it.envelope.kind)
    return _ended(it.outcome, _result(None, claim, it.envelope, it.outcome, life), life)


async def _run(it: Attempt, admitted: AdmittedJob, handlers: Handlers) -> AttemptResult:
    envelope = admitted.envelope
    context = _context(handlers, it.claim, envelope) | {"begin_effect": it.begin_effect, "progress": it.progress}
    value, error = None, None
    emit(_JOB_STARTED)
    function = admitted.function
    unlimited = function.timeout_s is None and handlers.time_limit is None
    timer = None if unlimited else _limited(it, handlers.limit(function))
    it.began = True
    try:
        if handlers.before:
            await handlers.before(context)
        value = await function.coroutine(context, *envelope.arguments, **admitted.payload)
    except BaseException as raised:  # noqa: BLE001  whatever a handler raises is its outcome
        _let_go_of_the_abandoned(raised, it)
        error = it.meaning_of(raised)
    finally:
        if timer is not None:
            timer.cancel()
    outcome = DONE if error is None else _decide(error, it, envelope, handlers)
    if handlers.after:
        await _after(handlers.after, context, it)
    if isinstance(error, Suppress):
        value = error.result
    return _tell(it, envelope, handlers, outcome, error=error, value=value)


def _limited(it: Attempt, limit: timedelta) -> asyncio.TimerHandle:
    """Have the attempt stopped when its time is over."""
    it.limit = limit
    return asyncio.get_running_loop().call_later(limit.total_seconds(), it.stop, it, "time")


def _let_go_of_the_abandoned(raised: BaseException, it: Attempt) -> None:
    """Python closes a coroutine that nobody runs any more with GeneratorExit, which must be raised again."""
    if isinstance(raised, GeneratorExit) and (it.task is None or not _is_current(it.task)):
        raise raised


def _is_current(task: "asyncio.Task[None]") -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop runs
        return False


async def _after(hook: Hook, context: dict[Any, Any], it: Attempt) -> None:
    """The hook after an attempt; the outcome is known, and its failure does not change it."""
    try:
        await hook(context)
    except BaseException as raised:  # noqa: BLE001  as of a handler
        _let_go_of_the_abandoned(raised, it)
        emit(_JOB_HOOK_FAILED, error=type(raised).__name__)


def _tell(
    it: Attempt,
    envelope: Envelope,
    handlers: Handlers,
    outcome: Outcome,
    *,
    error: BaseException | None,
    value: object = None,
) -> AttemptResult:
    emit(_ENDED[outcome.kind], **_account(error, it.claim))
    life = handlers.keep(envelope.kind)
    return _ended(outcome, _result(value, it.claim, envelope, outcome, life), life)


def _decide(error: BaseException, it: Attempt, envelope: Envelope, handlers: Handlers) -> Outcome:
    claim = it.claim
    left = None if envelope.expires_ms is None else envelope.expires_ms - claim.claimed_ms
    decided = partial(
        decide,
        attempt=claim.attempt,
        age=timedelta(milliseconds=max(0, claim.claimed_ms - envelope.since_ms)),
        policy=handlers.policies.get(envelope.kind, handlers.default),
        effect_begun=it.effect.begun,
        stopped=it.stopped is not None,
        left=None if left is None else timedelta(milliseconds=left),
    )
    try:
        return decided(error)
    except Exception:  # noqa: BLE001  a wait that no calendar has: a failure as any other
        return decided(RuntimeError(f"{type(error).__name__} with a wait that cannot be"))


def _ended(outcome: Outcome, result: bytes = b"", life: timedelta = timedelta(0)) -> AttemptResult:
    return AttemptResult(outcome, note(outcome) if outcome.why else result, life)


def _context(handlers: Handlers, claim: Claim, envelope: Envelope) -> dict[Any, Any]:
    """What the handler finds in ``ctx``."""
    return {
        **handlers.context,
        "job_id": claim.id,
        "job_try": claim.attempt,
        "enqueue_time": datetime.fromtimestamp(max(0, envelope.since_ms - envelope.delay_ms) / 1000, UTC),
        "score": claim.due_ms,
        "unknown_effect": claim.effect,
        "limit": claim.limit,
        "lane": claim.lane,
    }


def _account(error: BaseException | None, claim: Claim) -> dict[str, object]:
    """For the log: the error's type only, because its words may hold a server's reply with an address."""
    account: dict[str, object] = {"waited_ms": max(0, claim.claimed_ms - claim.due_ms)}
    if error is not None:
        account["error"] = type(error).__name__
    return account


def _result(value: object, claim: Claim, envelope: Envelope, outcome: Outcome, keep: timedelta) -> bytes:
    """Arq's result as JSON, without the payload: what was done with is not kept a second time."""
    if not keep or outcome.kind not in {"done", "suppressed", "dead", "dead+", "expired"}:
        return b""
    now = round(datetime.now(UTC).timestamp() * 1000)
    content = {
        "t": claim.attempt,
        "f": envelope.kind,
        "a": [],
        "k": {},
        "et": envelope.enqueued_ms,
        "s": outcome.kind in _ENDED_WELL,
        "r": value if outcome.kind in _ENDED_WELL else outcome.reason,
        "st": claim.claimed_ms,
        "ft": now,
        "q": claim.lane,
        "id": claim.id,
    }
    if outcome.kind in {"expired", "suppressed"}:
        content["o"] = outcome.kind
    try:
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer over 64 bits, a lone surrogate; what was done stays done
        return orjson.dumps({**content, "r": f"a {type(value).__name__} that JSON does not have"})
