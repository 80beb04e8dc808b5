"""Metrics of one reader process: responses by outcome, their durations, the age of the data, and doubts of clocks.

Outcomes are the verdicts and problem names of this package: a closed set, so that no request can create a time
series. Names and meanings are in `metrics/table.py`.
"""

from __future__ import annotations

from collections import Counter

from metrics.exposition import write_page
from metrics.histogram import Histogram
from metrics.process import LoopLag
from metrics.readings import Readings
from metrics.table import Part
from reader.clock import RedisClock
from reader.message import Response

AGES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 86400.0)
PARTS: tuple[Part, ...] = ("process", "reader")


class Metrics:
    """Counts of responses. There is one per process, used only from its event loop.

    Attributes:
        response_times: durations from a complete request to its response.
        lag: the delay of the event loop.
    """

    def __init__(self, clock: RedisClock) -> None:
        self._clock = clock
        self._outcomes: Counter[str] = Counter()
        self._ages = Histogram(AGES_S)
        self.response_times = Histogram()
        self.lag = LoopLag()

    def count_response(self, response: Response) -> None:
        """Count one response."""
        self._outcomes[response.outcome] += 1
        if response.age_s is not None:
            self._ages.observe(response.age_s)

    def write_page(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the page, in the format that the client prefers."""
        return write_page(self.read(), PARTS, accept)

    def read(self) -> Readings:
        """Return all metrics of this process."""
        readings = Readings()
        self.lag.collect(readings)
        for outcome, count in sorted(self._outcomes.items()):
            readings.add("momentus_reader_requests_total", count, outcome)
        readings.add_histogram("momentus_reader_age_seconds", self._ages)
        readings.add_histogram("momentus_reader_response_seconds", self.response_times)
        readings.add("momentus_reader_clock_ahead_seconds", self._clock.own_us / 1_000_000)
        for whose, count in sorted(self._clock.doubts.items()):
            readings.add("momentus_reader_clock_doubts_total", count, whose)
        return readings
