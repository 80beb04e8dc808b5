"""Spans of sends, by OpenTelemetry where the application has loaded it: nothing here imports it.

The span of a call is current while its jobs are composed, so their envelopes carry it (W3C Trace Context). Names
are those of the semantic conventions for messaging 1.44.0. No span has an address, a subject or a body.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

from .receipt import Receipt

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
LONGEST_STATE = 512
"""Characters of a tracestate that is passed on; a longer one is left out."""
Note = Callable[[Receipt], Receipt]
"""Function that notes a receipt and returns it."""
_UNTRACED: AbstractContextManager[Note] = nullcontext(lambda receipt: receipt)


def send_span(sent: object, lane: str = "") -> AbstractContextManager[Note]:
    """Return the span of a call that sends a message or a list of them; to this lane, if they do not name it."""
    trace = _opentelemetry()
    if trace is None or isinstance(provider := trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _UNTRACED
    return _recorded(trace, _tracer(provider), sent, lane)


def trace_fields() -> Mapping[str, str]:
    """Return the fields of an envelope that name the current span: ``tp``, with its tracestate ``ts``; or none."""
    trace = _opentelemetry()
    if trace is None or not (context := trace.get_current_span().get_span_context()).is_valid:
        return {}
    fields = {"tp": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"}
    if 0 < len(state := context.trace_state.to_header()) <= LONGEST_STATE:
        fields["ts"] = state
    return fields


def _opentelemetry() -> Any:  # noqa: ANN401  its module, or None
    trace = sys.modules.get("opentelemetry.trace")
    return trace if hasattr(trace, "__all__") else None  # its last name: another thread may still import it


@lru_cache(1)
def _tracer(provider: Any) -> Any:  # noqa: ANN401  as above
    return provider.get_tracer("momentus", schema_url=SCHEMA)  # each call changes the filters of warnings


@contextmanager
def _recorded(trace: Any, tracer: Any, sent: object, lane: str) -> Iterator[Note]:  # noqa: ANN401  as above
    attributes: dict[str, str | int] = {
        "messaging.system": "momentus",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    if isinstance(sent, list | tuple):
        attributes["messaging.batch.message_count"] = len(sent)
    lanes = {getattr(one, "lane", lane) for one in (sent if isinstance(sent, list | tuple) else [sent])}
    lane = str(lanes.pop()) if len(lanes) == 1 else ""
    if lane:
        attributes["messaging.destination.name"] = lane
    with tracer.start_as_current_span(
        f"send {lane}".strip(),
        kind=trace.SpanKind.PRODUCER,
        attributes=attributes,
        record_exception=False,  # its words may quote an address
        set_status_on_exception=False,
    ) as span:

        def note_receipt(receipt: Receipt) -> Receipt:
            span.set_attribute("messaging.message.id", receipt.id)
            span.set_attribute("messaging.momentus.receipt", receipt.state)
            return receipt

        try:
            yield note_receipt
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
