"""Spans of a worker: of each attempt of a job, and of the stages of a mail and of a refresh inside it.

Spans go to the tracer provider of this process, made by `opentelemetry-instrument`, a job module or
:mod:`worker.tracing_sdk`. Without one, nothing of OpenTelemetry is imported, and a span costs one comparison.

    send (of a producer) ──> process, one for each attempt ──> smtp open, smtp envelope, smtp mark, smtp dot
                                                           ──> settle, of the call that records its outcome
    report due (of the prober, from the first mark on) ──> send ──> process ──> report compute, report publish

The context in a job's envelope is the parent of each of its attempts, and a link of it too. What is not in the
form of W3C Trace Context is ignored: no job fails because of its trace. Names are those of the semantic
conventions for messaging 1.44.0; what these lack is below ``messaging.momentus`` and ``momentus``.

A span has ids, codes and counts: no address, no subject, no body, and no message of an error, which may quote
them.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from producers.envelope import Envelope
    from worker.engine.lane import Claim, Completion, Lane
    from worker.span_recorder import AttemptTrace, SpanRecorder

Mode = Literal["auto", "on", "off"]
Attributes = Mapping[str, str | int | float]
_FAILURES: Final = frozenset({"retry", "dead", "defer", "park"})
_OTHER: Final = "_OTHER"
"""``error.type`` of a failure without a class."""


class Stage(Protocol):
    """A running span."""

    def set_attribute(self, name: str, value: str | float) -> None:
        """Set an attribute."""

    def record_failure(self, error_type: str) -> None:
        """Record a failure that is not raised as an exception."""


class _NoStage:
    """Span where nothing is traced."""

    __slots__ = ()

    def set_attribute(self, name: str, value: str | float) -> None:
        """Do nothing."""

    def record_failure(self, error_type: str) -> None:
        """Do nothing."""


_UNTRACED: Final[AbstractContextManager[Stage]] = nullcontext(_NoStage())
_recorder: "SpanRecorder | None" = None


def use_provider(provider: "TracerProvider | None") -> None:
    """Send the spans of this process to a provider from now on; None: make none."""
    global _recorder  # noqa: PLW0603  as the log's set-up: spans are made in every room of the worker
    if provider is None:
        _recorder = None
        return
    from worker.span_recorder import SpanRecorder  # noqa: PLC0415  with OpenTelemetry, only for those who trace

    _recorder = SpanRecorder(provider)


def find_provider() -> "TracerProvider | None":
    """Return the provider that has been set up in this process, without importing anything."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider: TracerProvider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider


def is_on() -> bool:
    """Return True if this process makes spans."""
    return _recorder is not None


def stage_span(
    name: str, attributes: Attributes | None = None, *, is_call: bool = False, began_ns: int | None = None
) -> AbstractContextManager[Stage]:
    """Return the span of a step of the current attempt. An exception that leaves it is recorded as its failure.

    Args:
        is_call: True for a request to another server, which the attributes name.
        began_ns: its start, in nanoseconds since 1970, if it was noticed later.

    Example:
        with stage_span("smtp dot", place, is_call=True) as stage:
            stage.set_attribute("momentus.smtp.code", 250)
    """
    return _UNTRACED if _recorder is None else _recorder.stage_span(name, attributes, is_call, began_ns)


def report_span(step: str, report: str) -> AbstractContextManager[Stage]:
    """Return a span for one step of a report's refresh."""
    return _UNTRACED if _recorder is None else stage_span(f"report {step}", {"momentus.report": report})


def attempt_span(claim: "Claim", envelope: "Envelope | None") -> AbstractContextManager[Stage]:
    """Return the span of an attempt, whose parent is the context in the job's envelope."""
    return _UNTRACED if _recorder is None else _recorder.attempt_span(claim, envelope)


def attempt_trace(envelope: "Envelope | None") -> "AttemptTrace | None":
    """Return what the span of an outcome's record needs to know of the attempt whose span is current."""
    return None if _recorder is None else _recorder.attempt_trace(envelope)


def settle_span(endings: "Sequence[tuple[Lane, Sequence[Completion]]]") -> AbstractContextManager[Stage]:
    """Return the span of one call that records outcomes; without any, none is made."""
    if _recorder is None or not endings:
        return _UNTRACED
    return _recorder.settle_span([one for _, ended in endings for one in ended])


def conclude_attempt_span(stage: Stage, outcome: str, error_type: str, *, stopped: str = "") -> None:
    """Note how an attempt ended.

    Args:
        error_type: the class of the error by which it ended; "" for none.
        stopped: the reason for which the worker stopped it; "" for none.
    """
    kind = outcome.rstrip("+")
    stage.set_attribute("messaging.momentus.outcome", kind)
    if stopped:
        stage.set_attribute("messaging.momentus.stopped", stopped)
    if outcome != kind:
        stage.set_attribute("messaging.momentus.uncertain", value=True)
    if kind in _FAILURES:
        stage.record_failure(error_type or _OTHER)


def current_trace_id() -> str:
    """Return the id of the current trace, as logs and traces name it; "" without one."""
    return "" if _recorder is None else _recorder.current_trace_id()


def continued_trace(fields: Mapping[str, str]) -> AbstractContextManager[object]:
    """Make the context of these fields, ``tp`` and ``ts``, current, if this process has loaded OpenTelemetry."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return nullcontext()
    from worker.span_recorder import read_context  # noqa: PLC0415  as above

    context = read_context(fields.get("tp"), fields.get("ts"))
    return nullcontext() if context is None else trace.use_span(trace.get_current_span(context))
