"""Other machines' clocks, as this process knows them: asked now and then, and counted on by its own running time.

Nobody can set the running time, so that what is known of another clock stays right when this machine's clock is
set, and an answer that does not fit the ones before tells that the other clock was. For ``worker``, ``reader`` and
``ops``; whoever asks does so where its connections are.
"""

import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

SET_US: Final = 1_000_000
"""Clocks that differ by less are taken for one clock that is slewed; by more, somebody has set one."""
BOUND: Final = timedelta(seconds=30)
"""Where no setting says how far clocks may be apart."""
_KEPT: Final = 8
_DRIFT_PPM: Final = 500
"""How much faster or slower two clocks may go: the most by which the kernel lets a time server slew one."""
_SLACK_US: Final = 20_000
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
RUNNING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, where the system has such a clock (Linux)."""


def running_us() -> int:
    """Microseconds since some instant, by the clock that nobody sets."""
    return time.clock_gettime_ns(RUNNING) // 1000


def wall_us() -> int:
    """Microseconds since 1970 by this machine's own clock."""
    return time.time_ns() // 1000


def moment(us: int) -> datetime:
    """Microseconds since 1970 as an aware datetime."""
    return _EPOCH + timedelta(microseconds=us)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One answer of another clock.

    Attributes:
        said_us: microseconds since 1970 by that clock.
        asked_us, heard_us: the running time before the question and after the answer.
    """

    said_us: int
    asked_us: int
    heard_us: int

    @property
    def ahead_us(self) -> int:
        """That clock less the running time, as if it had answered in the middle."""
        return self.said_us - (self.asked_us + self.heard_us) // 2

    @property
    def error_us(self) -> int:
        """By how much that may be wrong."""
        return (self.heard_us - self.asked_us + 1) // 2


class ServerClock:
    """Knows another machine's clock by the tightest of its latest answers.

    Example:
        >>> clock = ServerClock()
        >>> clock.note(ClockReading(5_000_000, asked_us=100, heard_us=300))
        0
        >>> clock.ahead_us
        4999800
        >>> clock.note(ClockReading(1_000_500, asked_us=700, heard_us=900))  # set back by four seconds
        -4000100
    """

    def __init__(self) -> None:
        self._readings: deque[ClockReading] = deque(maxlen=_KEPT)
        self._best: ClockReading | None = None

    @property
    def ahead_us(self) -> int | None:
        """That clock less the running time; None while it has not answered."""
        return None if self._best is None else self._best.ahead_us

    @property
    def error_us(self) -> int:
        """By how much `ahead_us` may be wrong, for what is known."""
        return 0 if self._best is None else self._best.error_us

    def now_us(self) -> int | None:
        """What that clock says now; None while it has not answered."""
        return None if self._best is None else running_us() + self._best.ahead_us

    def note(self, reading: ClockReading) -> int:
        """Take note of an answer; says by how much the clock was set since, 0 if it was not."""
        before, step = self._best, 0
        if before is not None and not _agree(before, reading):
            self._readings.clear()
            step = reading.ahead_us - before.ahead_us
        self._readings.append(reading)
        self._best = min(reversed(self._readings), key=lambda one: one.error_us + _drift(one, reading))
        return step if abs(step) > SET_US else 0


def _agree(before: ClockReading, after: ClockReading) -> bool:
    """Whether both may be answers of one clock that nobody has set."""
    allowed = before.error_us + after.error_us + _drift(before, after) + _SLACK_US
    return abs(after.ahead_us - before.ahead_us) <= allowed


def _drift(before: ClockReading, after: ClockReading) -> int:
    return max(0, after.heard_us - before.heard_us) * _DRIFT_PPM // 1_000_000
