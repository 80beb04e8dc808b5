"""Recording of spans by OpenTelemetry: what :mod:`worker.tracing` does where a worker traces.

It is loaded with the first provider, so that a worker that does not trace loads nothing of it.
"""

import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeGuard

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from producers.tracing import LONGEST_STATE, SCHEMA

if TYPE_CHECKING:
    from producers.envelope import Envelope
    from worker.engine.lane import Claim, Completion

Attributes = Mapping[str, str | int | float]
_MEMBER: Final = re.compile(r"[a-z][a-z0-9_*/-]{0,240}(?:@[a-z][a-z0-9_*/-]{0,13})?=[!-+\--<>-~]{1,256}")
"""Member of a tracestate. OpenTelemetry logs a malformed one unchanged, and it may be arbitrary text."""
_MOST_MEMBERS: Final = 32
_LONGEST_PARENT: Final = 512
_FORMAT: Final = TraceContextTextMapPropagator()
_PROCESS: Final[Attributes] = {
    "messaging.system": "momentus",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}


_SETTLE: Final[Attributes] = {
    "messaging.system": "momentus",
    "messaging.operation.name": "settle",
    "messaging.operation.type": "settle",
}


class AttemptTrace(NamedTuple):
    """Span of an attempt, and the span that sent its job if there is one."""

    attempt: trace.SpanContext
    sent: trace.SpanContext | None


class RecordedSpan:
    """A span, current from `with` to its end. It records an exception that leaves it, without the message."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __enter__(self) -> Self:
        self._token = attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach(self._token)
        if error is not None:
            self._record_exception(error)
        self._span.end()

    def set_attribute(self, name: str, value: str | float) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)

    def record_failure(self, error_type: str) -> None:
        """Record a failure that is not raised as an exception."""
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(trace.StatusCode.ERROR)

    def _record_exception(self, error: BaseException) -> None:
        code = getattr(getattr(error, "reply", None), "code", None)  # of a mail server's refusal
        if code is not None:
            self._span.set_attribute("momentus.smtp.code", code)
        self.record_failure(type(error).__name__ if code is None else str(code))


class SpanRecorder:
    """Maker of spans for one provider."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("momentus", schema_url=SCHEMA)

    def stage_span(
        self,
        name: str,
        attributes: Attributes | None,
        is_call: bool,  # noqa: FBT001  called from one place
        began_ns: int | None,
    ) -> RecordedSpan:
        """See :func:`worker.tracing.stage_span`."""
        kind = trace.SpanKind.CLIENT if is_call else trace.SpanKind.INTERNAL
        return RecordedSpan(self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=began_ns))

    def attempt_span(self, claim: "Claim", envelope: "Envelope | None") -> RecordedSpan:
        """See :func:`worker.tracing.attempt_span`."""
        parent = None if envelope is None else read_context(envelope.traceparent, envelope.tracestate)
        attributes = {
            **_PROCESS,
            "messaging.destination.name": claim.lane,
            "messaging.message.id": claim.id,
            "messaging.momentus.kind": envelope.kind if envelope else "",
            "messaging.momentus.attempt": claim.attempt,
            "messaging.momentus.waited_ms": max(0, claim.claimed_ms - claim.due_ms),
        }
        span = self._tracer.start_span(
            f"process {claim.lane}",
            context=parent or Context(),
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes,
            links=[trace.Link(trace.get_current_span(parent).get_span_context())] if parent else (),
        )
        return RecordedSpan(span)

    def attempt_trace(self, envelope: "Envelope | None") -> AttemptTrace:
        """See :func:`worker.tracing.attempt_trace`."""
        attempt = trace.get_current_span().get_span_context()
        if envelope is None or not attempt.trace_flags.sampled:
            return AttemptTrace(attempt, None)
        sent = read_context(envelope.traceparent, envelope.tracestate)
        return AttemptTrace(attempt, trace.get_current_span(sent).get_span_context() if sent else None)

    def settle_span(self, completions: "Sequence[Completion]") -> RecordedSpan:
        """Return the span of a call that records these outcomes, with a link to each job's sender.

        The span of a single outcome is a child of its attempt's; that of several belongs to none of their traces.
        If none of their traces is kept, there is no span.
        """
        traces = [
            one.trace for one in completions if one.trace is not None and one.trace.attempt.trace_flags.sampled
        ]
        if not traces:
            return RecordedSpan(trace.INVALID_SPAN)
        lanes = {one.claim.lane for one in completions}
        attributes: dict[str, str | int | float] = {**_SETTLE}
        if len(lanes) == 1:
            attributes["messaging.destination.name"] = completions[0].claim.lane
        parent = Context()
        if len(completions) == 1:
            attributes["messaging.message.id"] = completions[0].claim.id
            parent = trace.set_span_in_context(trace.NonRecordingSpan(traces[0].attempt), parent)
        else:
            attributes["messaging.batch.message_count"] = len(completions)
        span = self._tracer.start_span(
            f"settle {attributes.get('messaging.destination.name', '')}".strip(),
            context=parent,
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            links=[trace.Link(one.sent or one.attempt) for one in traces],
        )
        return RecordedSpan(span)

    def current_trace_id(self) -> str:
        """See :func:`worker.tracing.current_trace_id`."""
        context = trace.get_current_span().get_span_context()
        return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def read_context(parent: object, state: object) -> Context | None:
    """Return the context of a traceparent; None if it is invalid. An invalid tracestate is left out."""
    if not isinstance(parent, str) or len(parent) > _LONGEST_PARENT:
        return None
    carrier = {"traceparent": parent, "tracestate": state} if _is_state(state) else {"traceparent": parent}
    return _FORMAT.extract(carrier) or None  # an empty one if it is no traceparent


def _is_state(state: object) -> TypeGuard[str]:
    if not isinstance(state, str) or len(state) > LONGEST_STATE:
        return False
    members = state.split(",")
    return len(members) <= _MOST_MEMBERS and all(_MEMBER.fullmatch(member) for member in members)
