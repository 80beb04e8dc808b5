"""Flow of a lane: how fast jobs leave it and arrive, and since when none has left. Pure.

Workers note every few seconds how many jobs have left a lane and how many are in it; what entered between two
notes follows. A mean of the last minute would be wrong when it matters: in the first minute of a batch, after a
worker died, and when a batch of arrivals has ended. So

    leaving    is measured over the last stretch in which jobs waited all the time and the pace did not change
    arriving   counts a burst as an ordinary interval, and is zero when the arrivals have paused for longer than
               they did before

A change is more than three standard deviations of independent events (Poisson), and more than the running jobs,
which may all end in one interval. A burst is that much more than the median, and three times as much.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import median_low
from typing import Final, NamedTuple

LONGEST_S: Final = 60.0
"""Longest period over which a pace is measured."""
_ENOUGH_S: Final = 10.0
"""Period that is always measured, whatever the pace."""
_SHORTEST_S: Final = 2.0
_PAUSE_S: Final = 5.0
"""Arrivals that pause for less have not stopped."""
_REMEMBERED: Final = 2048
"""Notes, and intervals, that need not be read again: a console reads the same sixty of each lane every second."""
_BURST: Final = 3
_DEVIATIONS: Final = 3


class FlowNote(NamedTuple):
    """State of a lane at an instant.

    Attributes:
        at_ms: the instant, by Redis's clock.
        left: jobs that have ended or died, in total.
        size: jobs in the queue, running ones included.
        waiting: those that are due, or held back by a limit.
    """

    at_ms: int
    left: int
    size: int
    waiting: int


class FlowInterval(NamedTuple):
    """Flow between two notes.

    Attributes:
        left, entered: number of jobs.
        is_busy: True if jobs waited at its beginning and its end.
    """

    seconds: float
    left: int
    entered: int
    is_busy: bool


@dataclass(frozen=True, slots=True)
class FlowRate:
    """Pace, and its uncertainty.

    Attributes:
        per_second: number of jobs.
        error: the standard deviation of the pace, from the number of jobs that were counted.
    """

    per_second: float
    error: float = 0.0


def read_notes(stored: Iterable[bytes]) -> tuple[FlowNote, ...]:
    """Return Redis's notes, which have the newest first, in order of time, without unreadable ones.

    >>> read_notes([b"9000 7 3 1", b"x", b"6000 5 4 2"])
    (FlowNote(at_ms=6000, left=5, size=4, waiting=2), FlowNote(at_ms=9000, left=7, size=3, waiting=1))
    """
    found = [note for text in stored if (note := _read_note(text)) is not None]
    return tuple(reversed(found))


@lru_cache(maxsize=_REMEMBERED)
def _read_note(text: bytes) -> FlowNote | None:
    numbers = text.split()
    if len(numbers) == 4 and b"".join(numbers).isdigit():  # noqa: PLR2004  as it is written
        return FlowNote(*map(int, numbers))
    return None


def read_intervals(notes: Sequence[FlowNote]) -> tuple[FlowInterval, ...]:
    """Return the flow between notes, the oldest first. There is none where the clock was set back."""
    return tuple(_interval(earlier, later) for earlier, later in pairwise(notes) if later.at_ms > earlier.at_ms)


@lru_cache(maxsize=_REMEMBERED)
def _interval(earlier: FlowNote, later: FlowNote) -> FlowInterval:
    return FlowInterval(
        seconds=(later.at_ms - earlier.at_ms) / 1000,
        left=max(0, later.left - earlier.left),
        entered=max(0, later.left - earlier.left + later.size - earlier.size),
        is_busy=earlier.waiting > 0 and later.waiting > 0,
    )


def leaving_rate(intervals: Sequence[FlowInterval], *, running: int) -> FlowRate | None:
    """Return the pace at which jobs leave while some wait; None if it is not known.

    Args:
        running: number of running jobs.
    """
    count, seconds = 0, 0.0
    for one in reversed(intervals):
        if not one.is_busy or seconds >= LONGEST_S:
            break
        if seconds >= _ENOUGH_S and _has_changed(one, count / seconds, running):
            break
        count, seconds = count + one.left, seconds + one.seconds
    return FlowRate(count / seconds, math.sqrt(count) / seconds) if seconds >= _SHORTEST_S else None


def _has_changed(interval: FlowInterval, per_second: float, running: int) -> bool:
    expected = per_second * interval.seconds
    return abs(interval.left - expected) > max(running, _DEVIATIONS * math.sqrt(max(expected, 1.0)))


def arriving_rate(intervals: Sequence[FlowInterval]) -> FlowRate:
    """Return the pace at which jobs arrive. Arrivals in a single interval are a burst, and no pace."""
    active = [place for place, one in enumerate(intervals) if one.entered]
    if len(active) < 2 or _have_stopped(intervals, active):  # noqa: PLR2004  see above
        return FlowRate(0.0)
    usual = median_low(intervals[place].entered / intervals[place].seconds for place in active)
    count, seconds = 0.0, 0.0
    for one in reversed(intervals[active[0] :]):
        if seconds >= LONGEST_S:
            break
        count, seconds = count + _without_burst(one, usual * one.seconds), seconds + one.seconds
    return FlowRate(count / seconds, math.sqrt(count) / seconds)


def _without_burst(interval: FlowInterval, usual: float) -> float:
    is_burst = interval.entered > max(_BURST * usual, usual + _DEVIATIONS * math.sqrt(usual))
    return usual if is_burst else interval.entered


def _have_stopped(intervals: Sequence[FlowInterval], active: Sequence[int]) -> bool:
    """Return True if the pause since the last arrival is longer than any before."""
    pauses = [_length(intervals[first + 1 : last]) for first, last in pairwise(active)]
    return _length(intervals[active[-1] + 1 :]) > max(_PAUSE_S, *pauses)


def idle_seconds(intervals: Sequence[FlowInterval]) -> float:
    """Return for how long jobs have waited without one leaving, as far as was noted."""
    seconds = 0.0
    for one in reversed(intervals):
        if one.left or not one.is_busy:
            break
        seconds += one.seconds
    return seconds


def usual_rate(intervals: Sequence[FlowInterval]) -> float:
    """Return the pace of all intervals in which jobs left; 0 without any."""
    active = [one for one in intervals if one.left and one.is_busy]
    seconds = _length(active)
    return sum(one.left for one in active) / seconds if seconds else 0.0


def _length(intervals: Iterable[FlowInterval]) -> float:
    return sum(one.seconds for one in intervals)
