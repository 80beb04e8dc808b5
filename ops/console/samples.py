"""Samples of the queue for the charts of the overview: every few seconds, kept for an hour in this process.

A console that starts again begins with empty charts. While Redis does not answer there are no samples, and the
line has a gap.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError

from metrics.histogram import LONG, quantile
from ops.depth.live_workers import sum_waits
from ops.depth.read import Depth

EVERY_S = 5.0
KEPT = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSample:
    """The whole queue at an instant.

    Attributes:
        at_s: seconds since 1970, by Redis's clock.
        oldest_s: the time since the first ready job of any lane became ready; 0 if none is.
        wait_p50_s, wait_p95_s: what half, and 95 of 100, of the last minute's attempts had waited at most;
            0 without any.
        versions: of the live workers' installations.
    """

    at_s: float
    waiting: float
    dead: float
    entering: float
    leaving: float
    oldest_s: float
    wait_p50_s: float = 0.0
    wait_p95_s: float = 0.0
    versions: frozenset[str] = frozenset()


def sample_of(depth: Depth) -> QueueSample:
    """Return the sample that a depth gives."""
    lanes, waits = depth.lanes, sum_waits(depth.workers)
    return QueueSample(
        at_s=depth.at.timestamp(),
        waiting=sum(one.ready + one.scheduled for one in lanes),
        dead=sum(one.dead for one in lanes),
        entering=sum(one.in_per_minute for one in lanes),
        leaving=sum(one.out_per_minute for one in lanes),
        oldest_s=max((one.oldest_ms or 0 for one in lanes), default=0) / 1000,
        wait_p50_s=quantile(LONG, waits, 0.5) or 0.0,
        wait_p95_s=quantile(LONG, waits, 0.95) or 0.0,
        versions=frozenset(one.version for one in depth.workers if one.version),
    )


class SampleLog:
    """The samples of the last hour."""

    def __init__(self) -> None:
        self._samples = deque[QueueSample](maxlen=KEPT)

    @property
    def samples(self) -> Sequence[QueueSample]:
        """All samples, the oldest first."""
        return tuple(self._samples)

    @property
    def since(self) -> datetime | None:
        """The instant of the first sample; None before it."""
        return datetime.fromtimestamp(self._samples[0].at_s, UTC) if self._samples else None

    def add(self, sample: QueueSample) -> None:
        """Keep a sample."""
        self._samples.append(sample)

    async def keep_sampling(self, read: Callable[[], Awaitable[Depth]], *, every_s: float = EVERY_S) -> None:
        """Take samples until cancelled."""
        while True:
            with suppress(RedisError, OSError):  # the pages say so
                self.add(sample_of(await read()))
            await asyncio.sleep(every_s)
