"""A kind that tells from a child process which trace it is in; its module loads OpenTelemetry itself."""

from dataclasses import dataclass

from momentus_client.jobs import Job, handles
from opentelemetry import trace


@dataclass(frozen=True)
class InProcess(Job, kind="trace.process"):
    """Told by a child process."""


@handles(InProcess, runs_in="process")
def tell_in_process(_: InProcess) -> object:
    """The trace, in hexadecimal digits."""
    return f"{trace.get_current_span().get_span_context().trace_id:032x}"
