"""The page of metrics, by prometheus_client: OpenMetrics 1.0 if the client prefers it, else Prometheus text 0.0.4.

The page lists every metric of its process with type and meaning, even those without a value yet. Only OpenMetrics
has exemplars: the id of a job in each bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from metrics.histogram import Histogram
from metrics.readings import Readings
from metrics.table import METRICS, Metric, Part

_OF_PROCESS = ProcessCollector(registry=None)


class _TakenReadings(Collector):
    """Registry interface over readings that were already taken."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def write_page(readings: Readings, parts: Iterable[Part], accept: str = "") -> tuple[str, bytes]:
    """Return the content type and the bytes of the page.

    Args:
        parts: the parts of the table whose metrics this process has.
        accept: the client's `Accept`.
    """
    encode, content_type = choose_encoder(accept)
    return content_type, encode(_TakenReadings(_families(readings, frozenset(parts))))


def _families(readings: Readings, parts: frozenset[Part]) -> Iterator[Family]:
    for metric in METRICS.values():
        if metric.part in parts:
            yield _family(metric, readings)
    if "process" in parts:
        yield from _OF_PROCESS.collect()


def _family(metric: Metric, readings: Readings) -> Family:
    if metric.type == "histogram":
        return _histogram_family(metric, readings.histograms.get(metric.name, {}))
    make = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = make(metric.name, metric.help, labels=metric.labels)
    for labels, value in readings.values.get(metric.name, {}).items():
        family.add_metric(labels, value)
    return family


def _histogram_family(metric: Metric, series: dict[tuple[str, ...], Histogram]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, histogram in series.items():
        family.add_metric(labels, _buckets(histogram), sum_value=histogram.total)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for bound, count, example in histogram.buckets():
        name: str = floatToGoString(bound)  # type: ignore[no-untyped-call]  # it has no types
        buckets.append((name, count, Exemplar({"job_id": example[0]}, example[1])) if example else (name, count))
    return buckets
