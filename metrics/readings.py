"""The values that a process reports at one instant, by the names of the table.

A name, or a number of labels, that the table does not have is an error: so no metric exists without its line in
docs/metrics.md.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from metrics.histogram import Histogram
from metrics.table import METRICS, Metric

MOST_SERIES: Final = 300
"""Series of one metric in one scrape. Labels are names from settings and code; the bound is for their mistakes."""

Labels = tuple[str, ...]


class Readings:
    """Values of metrics.

    Attributes:
        values: by name, and by the values of the labels.
        histograms: the same for histograms.
    """

    def __init__(self) -> None:
        self.values: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        self.histograms: defaultdict[str, dict[Labels, Histogram]] = defaultdict(dict)

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add the value of a counter or gauge.

        Raises:
            KeyError, ValueError: the table has no such metric, or it has other labels.
        """
        series = self.values[_checked(name, labels).name]
        if labels in series or len(series) < MOST_SERIES:
            series[labels] = value

    def add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        """Add a histogram. Raises as :meth:`add`."""
        series = self.histograms[_checked(name, labels).name]
        if labels in series or len(series) < MOST_SERIES:
            series[labels] = histogram

    def value(self, name: str, *labels: str) -> float | None:
        """Return a value, or None if there is none."""
        return self.values.get(name, {}).get(labels)


def _checked(name: str, labels: Labels) -> Metric:
    metric = METRICS[name]
    if len(labels) != len(metric.labels):
        raise ValueError(f"{name}: has {len(labels)} label values; the table names {', '.join(metric.labels)}")
    return metric
