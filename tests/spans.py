"""Spans that this process makes, kept in memory, for the length of a block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from worker import tracing


class Spans:
    """The ended spans, oldest first, and a provider for more."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._memory))

    @property
    def all(self) -> Sequence[ReadableSpan]:
        """All of them."""
        return self._memory.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with a name that begins so."""
        return [span for span in self.all if span.name.startswith(name)]

    def only(self, name: str) -> ReadableSpan:
        """The one with this name."""
        (span,) = self.named(name)
        return span

    def said(self) -> str:
        """All that they say, in one text."""
        return "\n".join(span.to_json() for span in self.all)


@contextmanager
def recorded_spans() -> Iterator[Spans]:
    """Record the spans of producers and of workers in this process.

    A process may be given a provider once only, and other tests want none: so the name by which it is found is
    another one meanwhile.
    """
    spans = Spans()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
        tracing.use_provider(spans.provider)
        try:
            yield spans
        finally:
            tracing.use_provider(None)


def id_of(span: ReadableSpan) -> int:
    """Its own id."""
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    """The id of its trace."""
    assert span.context is not None
    return span.context.trace_id


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether the one was made inside of the other, wherever that was."""
    return span.parent is not None and (span.parent.span_id, trace_of(span)) == (id_of(parent), trace_of(parent))


def attributes(span: ReadableSpan) -> dict[str, object]:
    """Its attributes."""
    return dict(span.attributes or {})
