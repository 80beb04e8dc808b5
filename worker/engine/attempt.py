"""One attempt of one job: from stored octets to an outcome. Never raises for the job's own failure."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from arq.worker import Function

from jobs import Policy
from producers.envelope import Envelope
from worker.engine.admit import Admitted, Turned, admit
from worker.engine.lane import Claim
from worker.engine.outcome import DONE, Outcome, decide
from worker.engine.parking import note
from worker.engine.progress import Progress
from worker.events import bind, emit

Hook = Callable[[dict[Any, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What a worker can run.

    Attributes:
        functions: by kind.
        policies: by kind; ``default`` for the others.
        context: what every handler finds in ``ctx``.
        keep_result: how long a result is kept, unless the function says; zero for not at all.
        before, after: hooks around every attempt.
    """

    functions: Mapping[str, Function]
    policies: Mapping[str, Policy]
    default: Policy
    context: dict[Any, Any]
    keep_result: timedelta
    before: Hook | None = None
    after: Hook | None = None

    def keep(self, kind: str) -> timedelta:
        """How long the result of a job of this kind is kept."""
        own = self.functions[kind].keep_result_s if kind in self.functions else None
        return self.keep_result if own is None else timedelta(seconds=own)


class Effect:
    """The mark before an effect that cannot be taken back; handlers find it as ``begin_effect``.

    Args:
        mark: makes it durable, with a note; False when the lease was lost.
    """

    def __init__(self, mark: Callable[[str], Awaitable[bool]]) -> None:
        self._mark = mark
        self.begun = False

    async def begin(self, note: str = "") -> bool:
        """Make the mark; False, or an error, means that the effect must not happen.

        Only a mark that was made lets the effect begin. So an attempt that is stopped while it waits for its mark,
        or whose mark fails, ends with certainty: it has caused nothing.

        Args:
            note: what the history is to say of the effect if nobody ever tells how it ended.
        """
        made = await self._mark(note)
        self.begun = self.begun or made
        return made


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and there is one for each attempt
class Ended:
    """The outcome, the result's octets (empty when none is kept) and life; of a parked job its note."""

    outcome: Outcome
    result: bytes = b""
    life: timedelta = timedelta(0)


async def attempt(claim: Claim, handlers: Handlers, effect: Effect, progress: Progress) -> Ended:
    """Run a claimed job once, if it can be run here."""
    admitted = admit(claim, handlers.functions)
    kind = admitted.envelope.kind if admitted.envelope else ""
    bind(job_id=claim.id, kind=kind, lane=claim.lane, attempt=claim.attempt)
    if isinstance(admitted, Turned):
        return _turned_away(admitted, claim, handlers)
    try:
        return await _run(admitted, claim, handlers, effect, progress)
    finally:
        progress.close()


def _turned_away(it: Turned, claim: Claim, handlers: Handlers) -> Ended:
    emit(it.event, **it.told)
    if it.outcome.kind == "park" or it.envelope is None:
        return _ended(it.outcome)
    life = handlers.keep(it.envelope.kind)
    return _ended(it.outcome, _result(None, claim, it.envelope, it.outcome, life), life)


async def _run(admitted: Admitted, claim: Claim, handlers: Handlers, effect: Effect, progress: Progress) -> Ended:
    envelope = admitted.envelope
    context = _context(handlers, claim, envelope) | {"begin_effect": effect.begin, "progress": progress}
    value, error = None, None
    emit("job.started")
    try:
        if handlers.before:
            await handlers.before(context)
        value = await admitted.function.coroutine(context, *envelope.arguments, **admitted.payload)
    except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001  whatever a handler raises is its outcome
        error = raised
    outcome = _decide(error, claim, envelope, handlers, effect)
    if handlers.after:
        await handlers.after(context)
    emit(f"job.{outcome.kind}", **_account(error, claim))
    life = handlers.keep(envelope.kind)
    return _ended(outcome, _result(value, claim, envelope, outcome, life), life)


def _decide(
    error: BaseException | None, claim: Claim, envelope: Envelope, handlers: Handlers, effect: Effect
) -> Outcome:
    if error is None:
        return DONE
    left = None if envelope.expires_ms is None else envelope.expires_ms - claim.claimed_ms
    return decide(
        error,
        attempt=claim.attempt,
        age=timedelta(milliseconds=max(0, claim.claimed_ms - envelope.enqueued_ms - envelope.delay_ms)),
        policy=handlers.policies.get(envelope.kind, handlers.default),
        effect_begun=effect.begun,
        left=None if left is None else timedelta(milliseconds=left),
    )


def _ended(outcome: Outcome, result: bytes = b"", life: timedelta = timedelta(0)) -> Ended:
    return Ended(outcome, note(outcome) if outcome.why else result, life)


def _context(handlers: Handlers, claim: Claim, envelope: Envelope) -> dict[Any, Any]:
    """What the handler finds in ``ctx``."""
    return {
        **handlers.context,
        "job_id": claim.id,
        "job_try": claim.attempt,
        "enqueue_time": datetime.fromtimestamp(envelope.enqueued_ms / 1000, UTC),
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
    if not keep or outcome.kind not in {"done", "dead", "dead+", "expired"}:
        return b""
    now = round(datetime.now(UTC).timestamp() * 1000)
    content = {
        "t": claim.attempt,
        "f": envelope.kind,
        "a": [],
        "k": {},
        "et": envelope.enqueued_ms,
        "s": outcome.kind == "done",
        "r": value if outcome.kind == "done" else outcome.reason,
        "st": claim.claimed_ms,
        "ft": now,
        "q": claim.lane,
        "id": claim.id,
    }
    if outcome.kind == "expired":
        content["o"] = "expired"
    try:
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer over 64 bits, a lone surrogate; what was done stays done
        return orjson.dumps({**content, "r": f"a {type(value).__name__} that JSON does not have"})
