"""Counts of a worker's attempts by kind and lane: waits, running times, outcomes and classes of errors.

Each outcome costs a look-up, two observations and one or two additions to plain numbers, all in the event loop.
Kinds and lanes are this worker's own; a job of another kind counts as `unknown`, and beyond thirty classes of
errors of one kind and lane the next ones count as `other`.
"""

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
    """Counts of one kind in one lane."""

    __slots__ = ("errors", "outcomes", "runs", "waits")

    def __init__(self) -> None:
        self.waits = Histogram(LONG)
        self.runs = Histogram(LONG)
        self.outcomes = defaultdict[str, int](int)
        self.errors = defaultdict[str, int](int)

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
        """Count the outcome of an attempt."""
        claim = attempt.claim
        count = self.by_kind.get((attempt.kind, claim.lane)) or self._new(attempt.kind, claim.lane)
        wait_ms = claim.claimed_ms - claim.due_ms
        count.waits.observe(wait_ms / 1000 if wait_ms > 0 else 0.0, claim.id)
        count.runs.observe(monotonic() - claim.taken_at, claim.id)
        count.outcomes[outcome] += 1
        if attempt.error:
            count.count_error(attempt.error)

    def _new(self, kind: str, lane: str) -> JobCount:
        known = kind if kind in self._kinds else UNKNOWN
        return self.by_kind.setdefault((known, lane), JobCount())
