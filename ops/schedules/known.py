"""Schedules as the live workers declare them, with the last tick and the next one. It only reads.

Redis does not know the schedules: workers have them in their code. So a schedule with only a known last tick has
no live worker, and no next tick.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from clocks import moment
from jobs.lanes import GROUPS
from producers.keys import LaneKeys
from worker.crons import Cron, read_crons
from worker.fleet_keys import schedules_key

_MOST_WORKERS = 1000
_AHEAD = timedelta(hours=1)
"""As in `tick.lua`: a last tick that lies further ahead is of a clock that was set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSchedule:
    """A schedule.

    Attributes:
        group: its lane group.
        cron: None if no live worker declares it.
        workers: live workers that declare it.
        last: the last tick that was queued.
        following: the next tick; one that is past is about to be queued. None without a worker.
    """

    group: str
    name: str
    cron: Cron | None
    workers: int
    last: datetime | None
    following: datetime | None


async def list_schedules(redis: Redis) -> list[KnownSchedule]:
    """Return all schedules of all groups, by group and name.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return [one for group in GROUPS for one in await _list_group(redis, group)]


async def read_now(redis: Redis) -> datetime:
    """Return the time of Redis's clock, by which workers tick. Raises RedisError, OSError."""
    seconds, microseconds = await redis.time()
    return moment(int(seconds) * 1_000_000 + int(microseconds))


async def _list_group(redis: Redis, group: str) -> list[KnownSchedule]:
    keys, now = LaneKeys(group), await read_now(redis)
    ids = await redis.zrange(keys.workers, 0, _MOST_WORKERS - 1, desc=True)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.crons)
        for worker_id in ids:
            pipe.get(schedules_key(keys, worker_id.decode(errors="replace")))
        ticks, *declared = await pipe.execute()
    found = [one for text in declared if text for one in read_crons(text)]
    last = {name.decode(errors="replace"): tick for name, tick in ticks.items()}
    return [_schedule(group, name, found, last, now) for name in sorted({*last, *(one.name for one in found)})]


def _schedule(
    group: str, name: str, crons: list[Cron], ticks: Mapping[str, bytes], now: datetime
) -> KnownSchedule:
    same = [one for one in crons if one.name == name]
    last = _tick(ticks.get(name))
    start = now if last is None or last > now + _AHEAD else last
    return KnownSchedule(
        group=group,
        name=name,
        cron=same[0] if same else None,
        workers=len(same),
        last=last,
        following=same[0].schedule.next_after(start) if same else None,
    )


def _tick(stored: bytes | None) -> datetime | None:
    try:
        return None if stored is None else datetime.fromtimestamp(int(stored) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
