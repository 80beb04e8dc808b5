"""Samples of the queue for the charts of the overview: every few seconds, kept for an hour, in Redis too.

A console that starts again begins with those of the list in Redis. All consoles share it: the first of them writes
the next one. With a user that may not write it, charts begin empty. While Redis does not answer there are no
samples, and the line has a gap.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from metrics.histogram import LONG, quantile
from ops.depth.live_workers import sum_waits
from ops.depth.read import Depth
from producers.rights import missing_right

EVERY_S = 5.0
KEPT = 720
STORED = "momentus:{ops}:samples"
_APART_S = EVERY_S / 2
"""Samples of several consoles that are closer together count as one."""
_LIFE_S = 7200


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSample:
    """The whole queue at an instant.

    Attributes:
        at_s: seconds since 1970, by Redis's clock.
        oldest_s: the time since the first ready job of any lane became ready; 0 if none is.
        wait_p50_s, wait_p95_s: median and 95th percentile of the waits of the last minute's attempts;
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
    """Return the sample made from a depth."""
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


def read_sample(line: bytes) -> QueueSample | None:
    """Read a stored sample; None if it cannot be read."""
    try:
        fields = orjson.loads(line)
        numbers = {name: float(fields[name]) for name in QueueSample.__dataclass_fields__ if name != "versions"}
        return QueueSample(**numbers, versions=frozenset(map(str, fields["versions"])))
    except (ValueError, TypeError, KeyError):
        return None


class SampleLog:
    """The samples of the last hour.

    Args:
        redis: where they are stored too; None: nowhere.
    """

    def __init__(self, redis: Redis | None = None) -> None:
        self._redis = redis
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
                await self.take_sample(read)
            await asyncio.sleep(every_s)

    async def take_sample(self, read: Callable[[], Awaitable[Depth]]) -> None:
        """Take a sample and store it; the first one follows those that are stored. Raises RedisError, OSError."""
        sample = sample_of(await read())
        if not self._samples:
            self._samples.extend(await self._stored_before(sample))
        self.add(sample)
        await self._store(sample)

    async def _stored_before(self, sample: QueueSample) -> Sequence[QueueSample]:
        """Read the samples of the hour before one, the oldest first."""
        lines = await self._call("LRANGE", STORED, 0, KEPT - 1) or []
        found = [one for line in reversed(lines) if (one := read_sample(line)) is not None]
        return [one for one in found if _APART_S < sample.at_s - one.at_s < KEPT * EVERY_S]

    async def _store(self, sample: QueueSample) -> None:
        """Store a sample, unless another console has just stored one."""
        newest = read_sample(await self._call("LINDEX", STORED, 0) or b"")
        if newest is not None and 0 <= sample.at_s - newest.at_s < _APART_S:
            return
        fields = asdict(sample) | {"versions": sorted(sample.versions)}
        await self._call("LPUSH", STORED, orjson.dumps(fields))
        await self._call("LTRIM", STORED, 0, KEPT - 1)
        await self._call("EXPIRE", STORED, _LIFE_S)

    async def _call(self, *command: str | int | bytes) -> Any:  # noqa: ANN401  a reply has any type
        """Run a command; None if it was refused, or where nothing is stored. Charts need no stored samples."""
        if self._redis is None:
            return None
        call: Any = self._redis.execute_command
        try:
            return await call(*command)
        except ResponseError as error:
            if missing_right(error):
                self._redis = None  # each refusal would be a line of Redis's own log
            return None
