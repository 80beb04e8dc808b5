"""Cost of the latest refreshes, and the pause after a failure."""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

KEPT = 32
_LONGEST_REST = timedelta(minutes=5)
_LONGEST_REST_UNREACHED = timedelta(seconds=10)
"""Longest pause while the database accepts no connection: an attempt costs it nothing."""


def with_latest(costs: Sequence[float], latest: float) -> list[float]:
    """Return the latest costs in ms, the newest first, with one more added.

    >>> with_latest([2.0, 1.0], 3.04)
    [3.0, 2.0, 1.0]
    """
    return [round(latest, 1), *costs[: KEPT - 1]]


def p95(costs: Sequence[float]) -> float:
    """Return the 95th percentile of the costs; the highest cost if there are fewer than 20.

    >>> p95([1.0, 9.0, 2.0])
    9.0
    """
    return sorted(costs)[ceil(len(costs) * 0.95) - 1] if costs else 0.0


def rest_after(times: int, *, cost: timedelta, share: float, reached: bool = True) -> timedelta:
    """Return the pause after this many failures in a row: longer each time, and within the load budget.

    Args:
        reached: False if the database accepted no connection, for example during a restart, and so the pause is
            short.

    >>> [rest_after(times, cost=timedelta(0), share=0.01).total_seconds() for times in (1, 9)]
    [1.0, 256.0]
    >>> rest_after(9, cost=timedelta(0), share=0.01, reached=False).total_seconds()
    10.0
    """
    longest = _LONGEST_REST if reached else _LONGEST_REST_UNREACHED
    return min(longest, max(timedelta(seconds=2 ** min(times - 1, 10)), cost / share))
