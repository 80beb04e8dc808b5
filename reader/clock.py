"""Redis's clock, from which the reader computes the age of a report, and reasons to doubt clocks.

The instants of a set are the database's, and the set says by how much that clock was ahead of Redis's when they
were taken. The reader asks Redis for its clock as soon as it is connected and every few seconds; in between it
goes by this process's running time. So this machine's clock, which an operator may set, has no effect.

Ages are right even if clocks are wrong. Still, clocks that are further apart than the bound are a fault that an
operator must fix. Until then no report is called fresh, in these cases:

    reader    this machine's clock is too far from Redis's
    database  the database's clock was too far from Redis's
    future    the report's instants lie in the future, so that its age is not known
    redis     Redis's clock was set back (a failover, a time server), and the report has not been proved since
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from time import clock_gettime_ns

from clocks import BOUND, RUNNING, ClockReading, ServerClock, running_us, wall_us
from reader.snapshot import Meta

_TOLD_US = 60_000_000
"""Time for which a doubt is reported after it was last found."""

log = logging.getLogger(__name__)


class RedisClock:
    """Redis's clock; this machine's clock until the first reading.

    Args:
        bound: largest accepted difference between clocks.

    Attributes:
        doubts: number of responses that were not called fresh, by the clock in doubt.
    """

    def __init__(self, *, bound: timedelta = BOUND) -> None:
        self._redis = ServerClock()
        self._bound_us = bound // timedelta(microseconds=1)
        self._ahead_us = wall_us() - running_us()
        self._was_us = 0
        self._told: dict[str, tuple[int, str]] = {}
        self.doubts: Counter[str] = Counter()

    def now_us(self) -> int:
        """Return microseconds since 1970."""
        return clock_gettime_ns(RUNNING) // 1000 + self._ahead_us

    @property
    def own_us(self) -> int:
        """Microseconds by which this machine's clock is ahead of Redis's."""
        return wall_us() - self.now_us()

    def add_reading(self, reading: ClockReading) -> None:
        """Correct this clock by a reading of Redis's."""
        before_us = self.now_us()
        if self._redis.add_reading(reading) < 0:
            self._was_us = before_us
        if self._redis.ahead_us is not None:
            self._ahead_us = (
                self._redis.ahead_us + self._redis.error_us
            )  # an age is rather too large than too small
        if abs(self.own_us) > self._bound_us:
            self._tell("reader", f"this machine's clock is {_seconds(self.own_us)} from Redis's")

    def doubt(self, meta: Meta, now_us: int) -> str:
        """Return the clock for which the report is not called fresh; empty if there is none.

        Args:
            now_us: instant of the database's clock.
        """
        offset_us = meta.clock_offset_us
        if abs(offset_us) > self._bound_us:
            return self._tell("database", f"the database's clock is {_seconds(offset_us)} from Redis's")
        if meta.verified_us - now_us > self._bound_us:
            return self._tell("future", f"a report is dated {_seconds(meta.verified_us - now_us)} from now")
        if meta.verified_us - offset_us < self._was_us:
            return self._tell("redis", "Redis's clock was set back, and a report was not proved since")
        if abs(self.own_us) > self._bound_us:
            return self._tell("reader", f"this machine's clock is {_seconds(self.own_us)} from Redis's")
        return ""

    def doubt_texts(self) -> Iterator[str]:
        """Yield the current doubts as texts for operators."""
        since_us = running_us() - _TOLD_US
        yield from (words for last_us, words in self._told.values() if last_us > since_us)

    def _tell(self, whose: str, words: str) -> str:
        """Keep the doubt for `words`, and log it unless it was logged within the last minute."""
        now_us, told = running_us(), self._told.get(whose)
        if told is None or now_us - told[0] > _TOLD_US:
            log.warning(
                "clocks: %s, so no report is called fresh; synchronise all machines with the same time servers",
                words,
            )
        self._told[whose] = now_us, words
        return whose


def _seconds(us: int) -> str:
    return f"{us / 1_000_000:+.1f} s"
