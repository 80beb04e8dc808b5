"""What refreshes have cost of late, and how long a failing report is left alone."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

KEPT = 32
_LONGEST_REST = timedelta(minutes=5)


def with_latest(costs: Sequence[float], latest: float) -> list[float]:
    """The ring of the latest costs in ms, the newest first.

    >>> with_latest([2.0, 1.0], 3.04)
    [3.0, 2.0, 1.0]
    """
    return [round(latest, 1), *costs[: KEPT - 1]]


def p95(costs: Sequence[float]) -> float:
    """What 95 % of them reach at most; of a few, the greatest.

    >>> p95([1.0, 9.0, 2.0])
    9.0
    """
    return sorted(costs)[ceil(len(costs) * 0.95) - 1] if costs else 0.0


def rest_after(times: int, *, cost: timedelta, share: float) -> timedelta:
    """How long a report that failed so many times in a row is left alone: longer each time, within its budget.

    >>> rest_after(1, cost=timedelta(0), share=0.01).total_seconds()
    1.0
    """
    return min(_LONGEST_REST, max(timedelta(seconds=2 ** min(times - 1, 10)), cost / share))
