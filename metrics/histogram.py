"""Counts of durations by upper bounds, with an example of each.

An observation is one binary search and three assignments: no lock, no lookup of labels. A histogram belongs to one
thread; another one may read it, and sees at most one observation half done.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Bounds, in seconds, of what usually takes milliseconds: a round trip to Redis, a response."""
LONG: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 21600.0)
"""Bounds, in seconds, of what may take hours: the wait of a job."""


class Histogram:
    """Number and sum of durations, by upper bound.

    Args:
        bounds: in seconds, ascending; one more bucket takes what is longer.

    Attributes:
        total: the sum of all durations.

    Example:
        >>> waits = Histogram((0.1, 1.0))
        >>> waits.observe(0.1), waits.observe(7, "{mail}01k")
        (None, None)
        >>> [(bound, count) for bound, count, _ in waits.buckets()]
        [(0.1, 1), (1.0, 1), (inf, 2)]
    """

    __slots__ = ("_bounds", "_counts", "_examples", "total")

    def __init__(self, bounds: Sequence[float] = QUICK) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._examples: list[tuple[str, float] | None] = [None] * (len(bounds) + 1)
        self.total = 0.0

    @classmethod
    def of_counts(
        cls,
        bounds: Sequence[float],
        counts: Sequence[int],
        total: float,
        examples: Sequence[tuple[str, float] | None] = (),
    ) -> Histogram:
        """Return the histogram of counts that were kept elsewhere."""
        histogram = cls(bounds)
        histogram._counts, histogram.total = list(counts), total
        histogram._examples = list(examples) or histogram._examples
        return histogram

    def observe(self, seconds: float, example: str = "") -> None:
        """Count a duration. ``example``: the id of its job, shown with the bucket."""
        place = bisect_left(self._bounds, seconds)
        self._counts[place] += 1
        self.total += seconds
        if example:
            self._examples[place] = example, seconds

    def buckets(self) -> Iterator[tuple[float, int, tuple[str, float] | None]]:
        """Yield each bound, the number of durations up to it, and the last example of its bucket."""
        below = accumulate(list(self._counts))
        return zip((*self._bounds, float("inf")), below, list(self._examples), strict=True)


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """Return the duration that a share of all does not exceed; None if there are none.

    Within a bucket it is linear, and what is longer than the last bound counts as that, as in Prometheus's
    `histogram_quantile`.

    Args:
        counts: by bucket, not cumulative; missing ones are zero.

    Example:
        >>> quantile((1.0, 2.0), [50, 50], 0.5), quantile((1.0, 2.0), [0, 50, 50], 0.25), quantile((1.0,), [], 0.5)
        (1.0, 1.5, None)
    """
    wanted, below = part * sum(counts), 0
    if not wanted:
        return None
    for count, start, end in zip(counts, (0.0, *bounds), (*bounds, bounds[-1]), strict=False):
        if below + count >= wanted:
            return start + (end - start) * (wanted - below) / count
        below += count
    return bounds[-1]
