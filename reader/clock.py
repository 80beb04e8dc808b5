"""Redis's clock, by which this reader tells how old a report is; and why a report may not be called fresh.

A set's instants are the database's, and the set says by how much that clock was ahead of Redis's when they were
taken. Redis is asked for its clock as soon as it is connected, and every few seconds; in between this process's
running time counts on. So this machine's own clock, which somebody may set, judges nothing.

Ages are right whatever the clocks say. Yet clocks that are further apart than the bound are a fault that people
have to mend: until then no report is called fresh, in these cases:

    reader    this machine's clock is too far from Redis's
    database  the database's was too far from Redis's
    future    the report is of the future, so that nothing is known of its age
    redis     Redis's clock was set back (a failover, a time server), and the report was not proved since
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
"""For how long a doubt is told after it was last met."""

log = logging.getLogger(__name__)


class RedisClock:
    """Redis's clock; this machine's until Redis has been asked.

    Args:
        bound: how far clocks may be apart.

    Attributes:
        doubts: how many answers were not called fresh for which clock's sake.
    """

    def __init__(self, *, bound: timedelta = BOUND) -> None:
        self._redis = ServerClock()
        self._bound_us = bound // timedelta(microseconds=1)
        self._ahead_us = wall_us() - running_us()
        self._was_us = 0
        self._told: dict[str, tuple[int, str]] = {}
        self.doubts: Counter[str] = Counter()

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return clock_gettime_ns(RUNNING) // 1000 + self._ahead_us

    @property
    def own_us(self) -> int:
        """By how much this machine's clock is ahead."""
        return wall_us() - self.now_us()

    def note(self, reading: ClockReading) -> None:
        """Take note of what Redis says."""
        before_us = self.now_us()
        if self._redis.note(reading) < 0:
            self._was_us = before_us
        if self._redis.ahead_us is not None:
            self._ahead_us = self._redis.ahead_us + self._redis.error_us  # rather too old than too young
        if abs(self.own_us) > self._bound_us:
            self._tell("reader", f"this machine's clock is {_seconds(self.own_us)} from Redis's")

    def doubt(self, meta: Meta, now_us: int) -> str:
        """Whose clock keeps the report from being called fresh; empty: none.

        Args:
            now_us: by the database's clock.
        """
        offset_us = meta.clock_offset_us
        if abs(offset_us) > self._bound_us:
            return self._tell("database", f"the database's clock is {_seconds(offset_us)} from Redis's")
        if meta.verified_us - now_us > self._bound_us:
            return self._tell("future", f"a report is of {_seconds(meta.verified_us - now_us)} from now")
        if meta.verified_us - offset_us < self._was_us:
            return self._tell("redis", "Redis's clock was set back, and a report was not proved since")
        if abs(self.own_us) > self._bound_us:
            return self._tell("reader", f"this machine's clock is {_seconds(self.own_us)} from Redis's")
        return ""

    def words(self) -> Iterator[str]:
        """What is wrong with clocks, for people."""
        since_us = running_us() - _TOLD_US
        yield from (words for last_us, words in self._told.values() if last_us > since_us)

    def _tell(self, whose: str, words: str) -> str:
        """Keep it for `words`, and log it unless it was met a moment ago."""
        now_us, told = running_us(), self._told.get(whose)
        if told is None or now_us - told[0] > _TOLD_US:
            log.warning("%s: no report is called fresh; let all follow the same time servers", words)
        self._told[whose] = now_us, words
        return whose


def _seconds(us: int) -> str:
    return f"{us / 1_000_000:+.1f} s"
