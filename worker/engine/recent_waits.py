"""Waits of a worker's jobs in the last minute, for its heartbeats: the difference of two states of its counts."""

import threading
from collections import deque
from typing import Final

from worker.engine.job_counts import JobCounts

LENGTH_S: Final = 60.0

Waits = dict[str, list[int]]
"""By lane, the number of attempts in each bucket of `metrics.histogram.LONG`."""


class RecentWaits:
    """The latest states of a worker's counts. Renewal threads may share it.

    Args:
        counts: all that the worker has counted; the event loop adds to it meanwhile.
    """

    def __init__(self, counts: JobCounts) -> None:
        self._counts = counts
        self._states = deque[tuple[float, Waits]]([(float("-inf"), {})])
        self._lock = threading.Lock()

    def read(self, now: float) -> Waits:
        """Return the attempts that ended in about the last minute, by lane and wait.

        Args:
            now: an instant of a clock that never goes back.
        """
        state = self._sum_of_kinds()
        with self._lock:
            self._states.append((now, state))
            while len(self._states) > 1 and self._states[1][0] <= now - LENGTH_S:
                self._states.popleft()
            _, before = self._states[0]
        return {lane: waits for lane, counts in state.items() if (waits := _since(counts, before.get(lane)))}

    def _sum_of_kinds(self) -> Waits:
        sums: Waits = {}
        for (_, lane), count in list(self._counts.by_kind.items()):
            earlier = sums.get(lane)
            counts = list(count.wait_counts)
            sums[lane] = counts if earlier is None else [a + b for a, b in zip(earlier, counts, strict=True)]
        return sums


def _since(counts: list[int], before: list[int] | None) -> list[int]:
    """Return what was counted since, without the empty buckets at the end."""
    found = list(counts) if before is None else [now - then for now, then in zip(counts, before, strict=True)]
    while found and not found[-1]:
        found.pop()
    return found
