"""One attempt of one job: from stored octets to an outcome. Never raises for the job's own failure."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from arq.worker import Function

from jobs import Policy
from producers.envelope import Envelope, UnreadableEnvelope, read_envelope
from worker.engine.lane import Claim
from worker.engine.outcome import Outcome, decide
from worker.events import bind, emit

_UNKNOWN_KIND_WAIT = timedelta(seconds=30)

Hook = Callable[[dict[Any, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What a worker can run.

    Attributes:
        functions: by kind.
        policies: by kind; ``default`` for the others.
        context: what every handler finds in ``ctx``.
        keep_result: how long a result is kept; zero for not at all.
        before, after: hooks around every attempt.
    """

    functions: Mapping[str, Function]
    policies: Mapping[str, Policy]
    default: Policy
    context: dict[Any, Any]
    keep_result: timedelta
    before: Hook | None = None
    after: Hook | None = None


class Effect:
    """The mark before an effect that cannot be taken back; handlers find it as ``begin_effect``.

    Args:
        mark: makes it durable; False when the lease was lost.
    """

    def __init__(self, mark: Callable[[], Awaitable[bool]]) -> None:
        self._mark = mark
        self.begun = False

    async def begin(self) -> bool:
        """Make the mark; False means that the effect must not happen."""
        self.begun = True  # from here on, until the handler says how it ended, nobody can be sure
        self.begun = await self._mark()
        return self.begun


@dataclass(frozen=True, slots=True)
class Ended:
    """The outcome, and the result's octets (empty when none is kept)."""

    outcome: Outcome
    result: bytes = b""


async def attempt(claim: Claim, handlers: Handlers, effect: Effect) -> Ended:
    """Run a claimed job once."""
    try:
        envelope = read_envelope(claim.payload)
    except UnreadableEnvelope as error:
        bind(job_id=claim.id, lane=claim.lane, attempt=claim.attempt)
        emit("job.unreadable", error=str(error))
        return Ended(Outcome("dead", reason=str(error)))
    bind(job_id=claim.id, kind=envelope.kind, lane=claim.lane, attempt=claim.attempt)
    function = handlers.functions.get(envelope.kind)
    if function is None:
        emit("job.unknown_kind")
        return Ended(Outcome("defer", _UNKNOWN_KIND_WAIT, f"no handler for {envelope.kind!r} on this worker"))
    return await _run(function, claim, envelope, handlers, effect)


async def _run(
    function: Function,
    claim: Claim,
    envelope: Envelope,
    handlers: Handlers,
    effect: Effect,
) -> Ended:
    context = {**handlers.context, **_job_context(claim, envelope), "begin_effect": effect.begin}
    policy = handlers.policies.get(envelope.kind, handlers.default)
    age = timedelta(milliseconds=max(0, claim.claimed_ms - envelope.enqueued_ms - envelope.delay_ms))
    value, error = None, None
    emit("job.started")
    try:
        if handlers.before:
            await handlers.before(context)
        value = await function.coroutine(context, *envelope.arguments, **envelope.payload)
    except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001  whatever a handler raises is its outcome
        error = raised
    outcome = decide(error, attempt=claim.attempt, age=age, policy=policy, effect_begun=effect.begun)
    if handlers.after:
        await handlers.after(context)
    emit(f"job.{outcome.kind}", **_account(error, claim))
    return Ended(outcome, _result(value, claim, envelope, outcome, handlers.keep_result))


def _job_context(claim: Claim, envelope: Envelope) -> dict[str, object]:
    return {
        "job_id": claim.id,
        "job_try": claim.attempt,
        "enqueue_time": datetime.fromtimestamp(envelope.enqueued_ms / 1000, UTC),
        "score": claim.due_ms,
        "unknown_effect": claim.effect,
    }


def _account(error: BaseException | None, claim: Claim) -> dict[str, object]:
    """For the log: the error's type only, because its words may hold a server's reply with an address."""
    account: dict[str, object] = {"waited_ms": max(0, claim.claimed_ms - claim.due_ms)}
    if error is not None:
        account["error"] = type(error).__name__
    return account


def _result(value: object, claim: Claim, envelope: Envelope, outcome: Outcome, keep: timedelta) -> bytes:
    """Arq's result as JSON, without the payload: what was done with is not kept a second time."""
    if not keep or outcome.kind not in {"done", "dead", "dead+"}:
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
    return orjson.dumps(content, default=str)
