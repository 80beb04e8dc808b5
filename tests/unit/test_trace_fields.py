"""The context that a producer writes into a job: that of the current span, and nothing where there is none."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from jobs import NamedJob
from producers.compose import Composer
from producers.envelope import read_envelope
from producers.tracing import LONGEST_STATE, send_span, trace_fields

CONTEXT = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C,
    0xB7AD6B7169203331,
    is_remote=True,
    trace_flags=TraceFlags(TraceFlags.SAMPLED),
    trace_state=TraceState([("shop", "1")]),
)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def current() -> Iterator[None]:
    """A span of another process is current, as in a request that a framework has traced."""
    with trace.use_span(NonRecordingSpan(CONTEXT)):
        yield


@pytest.mark.usefixtures("current")
def test_a_job_has_the_context_of_the_current_span_though_no_provider_is_set_up() -> None:
    with send_span(NamedJob("note.take", {})):
        entry = Composer("default").entry(NamedJob("note.take", {}))
    envelope = read_envelope(entry.payload)
    assert (envelope.traceparent, envelope.tracestate) == (PARENT, "shop=1")


def test_without_a_span_a_job_has_the_octets_that_it_had() -> None:
    entry = Composer("default").entry(NamedJob("note.take", {}))
    assert b'"k":{},"et":' in entry.payload
    assert b'"tp"' not in entry.payload
    assert b'"ts"' not in entry.payload


def test_the_context_stands_before_the_time_which_scripts_look_for_at_the_end() -> None:
    with trace.use_span(NonRecordingSpan(CONTEXT)):
        entry = Composer("default").entry(NamedJob("note.take", {}))
    assert f'"tp":"{PARENT}","ts":"shop=1","et":'.encode() in entry.payload


def test_a_long_tracestate_is_left_out() -> None:
    state = TraceState([(f"v{n}", "x" * 100) for n in range(LONGEST_STATE // 100)])
    long = SpanContext(CONTEXT.trace_id, CONTEXT.span_id, is_remote=True, trace_state=state)
    with trace.use_span(NonRecordingSpan(long)):
        assert trace_fields() == {"tp": PARENT[:-1] + "0"}


@pytest.mark.usefixtures("current")
@pytest.mark.parametrize("loaded", [None, ModuleType("opentelemetry.trace")])
def test_what_is_not_loaded_or_not_yet_is_not_used(
    monkeypatch: pytest.MonkeyPatch, loaded: ModuleType | None
) -> None:
    if loaded is None:
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    else:
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", loaded)
    with send_span(NamedJob("note.take", {})):
        assert trace_fields() == {}


@pytest.mark.usefixtures("current")
def test_two_sends_of_one_content_in_two_traces_have_one_fingerprint() -> None:
    job = NamedJob("note.take", {"text": "one"})
    first = Composer("default").entry(job, key="note:1")
    with trace.use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=True))):
        second = Composer("default").entry(job, key="note:1")
    assert first.fingerprint == second.fingerprint
    assert first.payload != second.payload
    assert b'"ts"' not in second.payload, "it has none"
