"""Counts of a worker's attempts by kind and lane: waits, running times, outcomes and classes of errors.

Each outcome costs a look-up, two binary searches and a few additions to plain numbers, all in the event loop.
Kinds and lanes are this worker's own; a job of another kind counts as `unknown`, and beyond thirty classes of
errors of one kind and lane the next ones count as `other`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Container
from time import monotonic
from typing import Final

from metrics.histogram import LONG, Histogram
from worker.engine.attempt import Attempt
from worker.engine.outcome import OutcomeKind

MOST_ERRORS: Final = 30
UNKNOWN: Final = "unknown"


class JobCount:
    """Counts of one kind in one lane.

    Attributes:
        wait_counts, run_counts: number of attempts by duration, in the buckets of `LONG`.
        wait_total, run_total: sums of the durations.
        examples: the last job of each bucket of running times, with its duration.
    """

    __slots__ = ("errors", "examples", "outcomes", "run_counts", "run_total", "wait_counts", "wait_total")

    def __init__(self) -> None:
        self.wait_counts, self.wait_total = [0] * (len(LONG) + 1), 0.0
        self.run_counts, self.run_total = [0] * (len(LONG) + 1), 0.0
        self.examples: list[tuple[str, float] | None] = [None] * (len(LONG) + 1)
        self.outcomes = defaultdict[str, int](int)
        self.errors = defaultdict[str, int](int)

    @property
    def waits(self) -> Histogram:
        """Times from the instant at which a job could run to its claim."""
        return Histogram.of_counts(LONG, self.wait_counts, self.wait_total)

    @property
    def runs(self) -> Histogram:
        """Times from the claim to the outcome."""
        return Histogram.of_counts(LONG, self.run_counts, self.run_total, self.examples)

    def count_error(self, name: str) -> None:
        """Count an error by the name of its class."""
        if name not in self.errors and len(self.errors) >= MOST_ERRORS:
            name = "other"
        self.errors[name] += 1


class JobCounts:
    """Counts of one worker.

    Args:
        kinds: those that it runs.

    Attributes:
        by_kind: by kind and lane.
    """

    def __init__(self, kinds: Container[str]) -> None:
        self._kinds = kinds
        self.by_kind: dict[tuple[str, str], JobCount] = {}

    def count(self, attempt: Attempt, outcome: OutcomeKind) -> None:
        """Count the outcome of an attempt. The durations are counted inline, which saves a fifth of the time."""
        claim = attempt.claim
        try:
            count = self.by_kind[attempt.kind, claim.lane]
        except KeyError:
            count = self._new(attempt.kind, claim.lane)
        wait_ms = claim.claimed_ms - claim.due_ms
        wait = wait_ms / 1000 if wait_ms > 0 else 0.0
        count.wait_counts[bisect_left(LONG, wait)] += 1
        count.wait_total += wait
        run = monotonic() - claim.taken_at
        place = bisect_left(LONG, run)
        count.run_counts[place] += 1
        count.run_total += run
        count.examples[place] = claim.id, run
        count.outcomes[outcome] += 1
        if attempt.error:
            count.count_error(attempt.error)

    def _new(self, kind: str, lane: str) -> JobCount:
        known = kind if kind in self._kinds else UNKNOWN
        return self.by_kind.setdefault((known, lane), JobCount())
