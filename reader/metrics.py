"""Counters of one reader process, in Prometheus text.

    momentus_reader_requests_total{outcome="fresh"}       responses by outcome
    momentus_reader_age_seconds                           age of the data served, which is what the reader promises
    momentus_reader_clock_ahead_seconds                   this machine's clock less Redis's
    momentus_reader_clock_doubts_total{clock="database"}  responses not called fresh, by the clock in doubt
    momentus_reader_background_faults_total{task="beat"}  failures of background tasks that were started again

Outcomes are the verdicts and problem names of this package: a closed set, so that no request can create a time
series.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

import background
from reader.clock import RedisClock
from reader.message import Response

AGES_S = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 86400)


class Metrics:
    """Counters of responses. There is one per process, used only from its event loop."""

    def __init__(self, clock: RedisClock) -> None:
        self._clock = clock
        self._outcomes: Counter[str] = Counter()
        self._ages = [0] * (len(AGES_S) + 1)
        self._age_sum_s = 0.0

    def count_response(self, response: Response) -> None:
        """Count one response."""
        self._outcomes[response.outcome] += 1
        if response.age_s is not None:
            self._ages[bisect_left(AGES_S, response.age_s)] += 1
            self._age_sum_s += response.age_s

    def as_text(self) -> str:
        """Return all counters in the text format 0.0.4."""
        return "\n".join((*self._requests(), *self._histogram(), *self._clocks(), *_faults(), ""))

    def _requests(self) -> Iterator[str]:
        yield "# HELP momentus_reader_requests_total Responses by outcome."
        yield "# TYPE momentus_reader_requests_total counter"
        for outcome, count in sorted(self._outcomes.items()):
            yield f'momentus_reader_requests_total{{outcome="{outcome}"}} {count}'

    def _histogram(self) -> Iterator[str]:
        yield "# HELP momentus_reader_age_seconds Age of the data served."
        yield "# TYPE momentus_reader_age_seconds histogram"
        below = list(accumulate(self._ages))
        for limit, count in zip((*AGES_S, "+Inf"), below, strict=True):
            yield f'momentus_reader_age_seconds_bucket{{le="{limit}"}} {count}'
        yield f"momentus_reader_age_seconds_sum {self._age_sum_s:.6f}"
        yield f"momentus_reader_age_seconds_count {below[-1]}"

    def _clocks(self) -> Iterator[str]:
        yield "# HELP momentus_reader_clock_ahead_seconds This machine's clock less Redis's."
        yield "# TYPE momentus_reader_clock_ahead_seconds gauge"
        yield f"momentus_reader_clock_ahead_seconds {self._clock.own_us / 1_000_000:.6f}"
        if self._clock.doubts:
            yield "# HELP momentus_reader_clock_doubts_total Responses not called fresh because clocks are apart."
            yield "# TYPE momentus_reader_clock_doubts_total counter"
        for whose, count in sorted(self._clock.doubts.items()):
            yield f'momentus_reader_clock_doubts_total{{clock="{whose}"}} {count}'


def _faults() -> Iterator[str]:
    """Yield the faults of background tasks, if there are any."""
    if background.FAULTS:
        yield "# HELP momentus_reader_background_faults_total Background tasks that failed and were started again."
        yield "# TYPE momentus_reader_background_faults_total counter"
    for task, count in sorted(background.FAULTS.items()):
        yield f'momentus_reader_background_faults_total{{task="{task}"}} {count}'
