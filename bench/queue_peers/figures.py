"""From clock readings to figures, and from figures to text. Pure."""

import statistics
from collections.abc import Sequence

from bench.queue_peers.contract import WIDTH

_NANOSECONDS = 1_000_000_000
_FEWEST = 100
_WHOLE, _TENTHS = 100, 10


def read_nanoseconds(octets: bytes) -> list[int]:
    """The readings in a file of the contract; what is not written to its end yet is left out."""
    whole = len(octets) - len(octets) % WIDTH
    return [int.from_bytes(octets[at : at + WIDTH], "little", signed=True) for at in range(0, whole, WIDTH)]


def rate(starts: Sequence[int]) -> float:
    """Jobs per second between the first start and the last, in nanoseconds and any order.

    Example:
        >>> rate([0, 500_000_000, 1_000_000_000])
        2.0
    """
    return (len(starts) - 1) * _NANOSECONDS / (max(starts) - min(starts))


def shared_rate(workers: Sequence[Sequence[int]]) -> float | None:
    """Jobs per second of several workers while all of them were working; time when one worked alone is left out.

    None when they were not at work together for at least a hundred jobs.
    """
    if not all(workers):
        return None
    since, until = max(map(min, workers)), min(map(max, workers))
    together = [start for starts in workers for start in starts if since <= start <= until]
    return rate(together) if len(together) >= _FEWEST else None


def waits(sent: Sequence[int], started: Sequence[int]) -> list[float]:
    """Milliseconds from each call to the start of its job, which start in the order of the calls.

    The first start is of the call that waited for the worker, and left out.
    """
    return [(start - call) / 1e6 for call, start in zip(sent, sorted(started)[1:], strict=True)]


def summary(values: Sequence[float]) -> str:
    """The median, with the smallest and the largest when there are several.

    Example:
        >>> summary([1204.2, 980.0, 1500.0]), summary([0.1234]), summary([])
        ('1,204 (980-1,500)', '0.123', '-')
    """
    if not values:
        return "-"
    median = short(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({short(min(values))}-{short(max(values))})"


def short(value: float) -> str:
    """Three digits or all whole ones: 12,345, 12.3, 1.23, 0.012."""
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    if abs(value) >= _TENTHS:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Our median over theirs."""
    if not ours or not theirs:
        return "-"
    return short(statistics.median(ours) / statistics.median(theirs))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a bar within a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
