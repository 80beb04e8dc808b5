"""Set-up of OpenTelemetry's SDK in a worker's process, by the standard variables OTEL_*.

It is not part of the installation: `MOMENTUS_WORKER__TRACING=on` requires `opentelemetry-sdk` and an exporter. A
process that already has a provider keeps it.

    OTEL_TRACES_EXPORTER      otlp if not set, as the specification says; or console, none, or another one's name
    OTEL_EXPORTER_OTLP_*      where spans go
    OTEL_TRACES_SAMPLER       which traces are kept
    OTEL_SERVICE_NAME         momentus-worker if not set
    OTEL_SDK_DISABLED=true    no span is made
"""

import os
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from worker import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_SETTING: Final = "MOMENTUS_WORKER__TRACING"
_EXPORTERS: Final = "opentelemetry_traces_exporter"
_OTLP: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_SERVICE: Final = "momentus-worker"


class TracingUnavailable(ValueError):
    """Spans cannot be made as the settings require."""


def set_up_tracing(mode: tracing.Mode) -> None:
    """Make this process record spans, if the mode says so.

    Args:
        mode: ``off``; ``auto``: if a provider is set up; ``on``: one is set up, if none is.

    Raises:
        TracingUnavailable: a package is missing, or the environment names an exporter that is not installed.
    """
    if mode == "off":
        return
    provider = tracing.find_provider()
    if provider is None and mode == "on":
        provider = _make_provider()
    tracing.use_provider(provider)


def export_rest() -> None:
    """Export the pending spans at the end of the process; within the exporter's own timeout."""
    provider: Any = tracing.find_provider()
    if tracing.is_on() and hasattr(provider, "shutdown"):
        provider.shutdown()
    tracing.use_provider(None)


def _make_provider() -> "TracerProvider":
    try:
        from opentelemetry import trace  # noqa: PLC0415  only a worker that traces needs it
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  as above
    except ImportError:
        raise TracingUnavailable(
            f"{_SETTING}: is on, but OpenTelemetry's SDK is not installed here; install opentelemetry-sdk and "
            "opentelemetry-exporter-otlp, or set it to off"
        ) from None
    exporters = [_load_exporter(name) for name in _exporter_names()]  # before anything is set up
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
    provider = TracerProvider(resource=resource)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    trace.set_tracer_provider(provider)
    return provider


def _exporter_names() -> Iterator[str]:
    """Yield the names of exporters as their packages declare them."""
    given = os.environ.get
    protocol = given("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or given("OTEL_EXPORTER_OTLP_PROTOCOL")
    for name in (given("OTEL_TRACES_EXPORTER") or "otlp").split(","):
        match name.strip():
            case "none" | "":
                continue
            case "otlp" if protocol:
                yield _OTLP.get(protocol, protocol)
            case "otlp":
                yield _installed_otlp()
            case other:
                yield other


def _installed_otlp() -> str:
    """Return the exporter for OTLP that is installed; if both or neither are, the one for HTTP, the default."""
    installed = entry_points(group=_EXPORTERS).names
    return next((name for name in ("otlp_proto_http", "otlp_proto_grpc") if name in installed), "otlp_proto_http")


def _load_exporter(name: str) -> Any:  # noqa: ANN401  a class of another package
    found = entry_points(group=_EXPORTERS, name=name)
    for one in found:
        return one.load()
    package = "opentelemetry-exporter-otlp" if name.startswith("otlp") else "the package that has it"
    raise TracingUnavailable(
        f"{_SETTING}: is on, but the exporter {name} is not installed here; install {package}, or name another "
        "one in OTEL_TRACES_EXPORTER"
    )
