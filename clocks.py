"""Clocks of other machines: read now and then, and extrapolated by this process's running time.

The running time cannot be set. So an earlier reading of another clock stays right when this machine's clock is
set, and a reading that does not fit the earlier ones shows that the other clock was set. For ``worker``,
``reader`` and ``ops``; the caller reads the clock over its own connection.
"""

import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

SET_US: Final = 1_000_000
"""A smaller difference is taken for one clock that is slewed; a greater one means that a clock was set."""
BOUND: Final = timedelta(seconds=30)
"""The allowed difference between clocks, without a setting."""
_KEPT: Final = 8
_DRIFT_PPM: Final = 500
"""The greatest difference in speed of two clocks: the kernel lets a time server slew a clock by at most this."""
_SLACK_US: Final = 20_000
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
RUNNING: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that also counts while the machine is suspended, if the system has one (Linux)."""


def running_us() -> int:
    """Return microseconds since some instant, by the clock that cannot be set."""
    return time.clock_gettime_ns(RUNNING) // 1000


def wall_us() -> int:
    """Return microseconds since 1970 by this machine's own clock."""
    return time.time_ns() // 1000


def moment(us: int) -> datetime:
    """Return microseconds since 1970 as an aware datetime. Raises OverflowError past the year 9999."""
    return _EPOCH + timedelta(microseconds=us)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One reading of another clock.

    Attributes:
        said_us: microseconds since 1970 by that clock.
        asked_us, heard_us: the running time before the request and after the response.
    """

    said_us: int
    asked_us: int
    heard_us: int

    @property
    def ahead_us(self) -> int:
        """That clock minus this process's running time, as if it had been read halfway through the round trip."""
        return self.said_us - (self.asked_us + self.heard_us) // 2

    @property
    def error_us(self) -> int:
        """Greatest error of `ahead_us`."""
        return (self.heard_us - self.asked_us + 1) // 2


class ServerClock:
    """Estimate of another machine's clock, from the tightest of its latest readings.

    Example:
        >>> clock = ServerClock()
        >>> clock.add_reading(ClockReading(5_000_000, asked_us=100, heard_us=300))
        0
        >>> clock.ahead_us
        4999800
        >>> clock.add_reading(ClockReading(1_000_500, asked_us=700, heard_us=900))  # set back by four seconds
        -4000100
    """

    def __init__(self) -> None:
        self._readings: deque[ClockReading] = deque(maxlen=_KEPT)
        self._best: ClockReading | None = None

    @property
    def ahead_us(self) -> int | None:
        """That clock minus the running time; None before the first reading."""
        return None if self._best is None else self._best.ahead_us

    @property
    def error_us(self) -> int:
        """Greatest known error of `ahead_us`."""
        return 0 if self._best is None else self._best.error_us

    def now_us(self) -> int | None:
        """Return the current time of that clock; None before the first reading."""
        return None if self._best is None else running_us() + self._best.ahead_us

    def add_reading(self, reading: ClockReading) -> int:
        """Add a reading; return by how much the clock was set since the last one, 0 if it was not."""
        before, step = self._best, 0
        if before is not None and not readings_agree(before, reading):
            self._readings.clear()
            step = reading.ahead_us - before.ahead_us
        self._readings.append(reading)
        self._best = min(reversed(self._readings), key=lambda one: one.error_us + _drift(one, reading))
        return step if abs(step) > SET_US else 0


def readings_agree(before: ClockReading, after: ClockReading) -> bool:
    """Return True if both may be readings of one clock that was not set between them.

    Example:
        >>> readings_agree(ClockReading(1_000_000, 0, 100), ClockReading(3_000_000, 2_000_000, 2_000_100))
        True
        >>> readings_agree(ClockReading(1_000_000, 0, 100), ClockReading(1_000_000, 2_000_000, 2_000_100))
        False
    """
    allowed = before.error_us + after.error_us + _drift(before, after) + _SLACK_US
    return abs(after.ahead_us - before.ahead_us) <= allowed


def _drift(before: ClockReading, after: ClockReading) -> int:
    return max(0, after.heard_us - before.heard_us) * _DRIFT_PPM // 1_000_000
