"""Crons: jobs that the clock asks for. Every worker runs the clock; Redis lets each tick in once.

The last tick of each cron is kept, so that what was missed while everything was down is made up for by one job,
not by one for every tick. With ``overlap=False`` a tick whose predecessor still waits or runs is asked for again
until that is over; the ticks in between fall together. A job that is dead is over.

All instants are of Redis's clock, and that may be put back. What then lies more than an hour ahead, a last tick or
the time of the start, is of no clock that goes, and the cron begins anew. Within the hour it waits until its clock
has come round, so that no tick is queued twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from redis.exceptions import RedisError

import background
from producers.envelope import write_envelope
from producers.keys import LaneKeys
from producers.link import Argument, Link
from producers.link.script import Script
from worker.engine.schedule import Schedule
from worker.engine.store import script
from worker.events import emit, event

_CLOCK_FAILED = event("clock.failed")

_ASK_AGAIN = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(minutes=1)
_AHEAD = timedelta(hours=1)
"""As tick.lua has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A job of the clock.

    Attributes:
        name: names it for ever; its last tick is kept under it.
        kind, lane, payload: the job.
        overlap: whether a tick may be queued while the one before waits or runs.
    """

    name: str
    schedule: Schedule
    kind: str
    lane: str
    payload: Mapping[str, object] = field(repr=False)
    overlap: bool = False


class Clock:
    """Asks for ticks.

    Args:
        link: to Redis.
    """

    def __init__(self, link: Link, crons: Sequence[Cron]) -> None:
        self._link = link
        self._crons = crons
        self._tick = Script(script("tick"))

    async def run(self) -> None:
        """Tick until cancelled. Faults of Redis are waited out: the tick is still due when it is back.

        A cron that fails otherwise is begun anew, alone: the others go on.
        """
        await asyncio.gather(
            *(background.keep(f"cron {cron.name}", partial(self._keep, cron)) for cron in self._crons)
        )

    async def ask(self, cron: Cron, tick: datetime) -> int:
        """Ask for one tick that is not to come: 1 queued, 0 had already been, -1 the one before is not over."""
        keys = LaneKeys(cron.lane)
        stamp = round(tick.timestamp() * 1000)
        # Without overlap all ticks share one id, which is taken as long as one of them is unfinished.
        job_id = f"{keys.tag}cron:{cron.name}" + (f":{stamp}" if cron.overlap else "")
        payload = write_envelope(cron.kind, cron.payload, enqueued_ms=stamp)
        names = [keys.queue, keys.wake, keys.counters, keys.crons, f"arq:job:{job_id}", keys.dead]
        alone = int(not cron.overlap)
        arguments: list[Argument] = [cron.lane, keys.tag, cron.name, stamp, job_id, payload, alone]
        return int(await self._tick.run(self._link.call, names, arguments))

    async def now(self) -> datetime:
        """The time by Redis's clock: a worker's own is never trusted."""
        seconds, microseconds = await self._link.call("TIME")
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))

    async def last_tick(self, cron: Cron) -> datetime | None:
        """The last tick that was queued, by whichever worker; None also for what is no time of one."""
        last = await self._link.call("HGET", LaneKeys(cron.lane).crons, cron.name)
        try:
            return None if last is None else datetime.fromtimestamp(int(last) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    async def _keep(self, cron: Cron) -> None:
        since, well = None, True
        while True:
            try:
                now = await self.now()
                since = now if since is None or since > now + _AHEAD else since
                wait = await self._step(cron, since, now)
                well = True
            except (RedisError, OSError) as error:
                if well:
                    emit(_CLOCK_FAILED, cron=cron.name, error=type(error).__name__)
                well, wait = False, _ASK_AGAIN
            await asyncio.sleep(wait.total_seconds())

    async def _step(self, cron: Cron, since: datetime, now: datetime) -> timedelta:
        """Ask for what is due; how long until the next look. A cron's very first tick is its next one."""
        last = await self.last_tick(cron)
        due = cron.schedule.next_after(since if last is None or last > now + _AHEAD else last)
        if due > now:
            return min(due - now, _LONGEST_WAIT)
        if await self.ask(cron, cron.schedule.last_until(now)) < 0:
            return _ASK_AGAIN
        return timedelta(0)
