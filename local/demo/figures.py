"""Percentiles of measurements, by the nearest rank."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed.

    Example:
        >>> percentile([1, 2, 3, 4], 0.5)
        2
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def p50_and_p99(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return the 50th and 99th percentile, in milliseconds."""
    return {"p50": round(percentile(milliseconds, 0.5), 3), "p99": round(percentile(milliseconds, 0.99), 3)}
