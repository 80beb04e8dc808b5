"""Crons: jobs at scheduled times. Every worker runs the clock; Redis queues each tick once.

The last tick of each cron is stored, so that one job makes up for all ticks missed while everything was down. With
``overlap=False`` a tick is requested again until the job of the previous tick has ended; the ticks in between
become one. A dead job has ended.

All times are Redis's, and its clock may be set back. A last tick, or a start time, that then lies more than an
hour ahead is invalid, and the cron starts from now. Within the hour the cron waits until the clock reaches that
time, so that no tick is queued twice.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from redis.exceptions import RedisError

import background
from producers.keys import LaneKeys
from producers.link import Link
from worker.crons import Cron as Cron, declare_crons, queue_tick
from worker.events import emit, event

_CLOCK_FAILED = event("clock.failed")

_RETRY = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(minutes=1)
_AHEAD = timedelta(hours=1)
"""Furthest ahead of now that a last tick may be; the same as in tick.lua."""


class CronClock:
    """The loop that requests the ticks of a worker's crons.

    Args:
        link: to Redis.

    Attributes:
        declarations: the crons of each lane group, by its tag, for the heartbeat.
    """

    def __init__(self, link: Link, crons: Sequence[Cron]) -> None:
        self._link = link
        self._crons = crons
        self.declarations = declare_crons(crons)

    async def run(self) -> None:
        """Run all crons until cancelled. While Redis is down, ticks wait: they are still due when it is back.

        A cron that fails for another reason is restarted alone; the others continue.
        """
        await asyncio.gather(
            *(background.keep_running(f"cron {cron.name}", partial(self._run_cron, cron)) for cron in self._crons)
        )

    async def request_tick(self, cron: Cron, tick: datetime) -> int:
        """Request one due tick.

        Returns:
            1: queued; 0: an earlier call queued it; -1: the job of the previous tick has not ended.
        """
        return await queue_tick(self._link.call, cron, tick)

    async def now(self) -> datetime:
        """Return Redis's time: a worker's own clock is not trusted."""
        seconds, microseconds = await self._link.call("TIME")
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))

    async def last_tick(self, cron: Cron) -> datetime | None:
        """Return the last tick that any worker queued, None if there is none or the stored value is invalid."""
        last = await self._link.call("HGET", LaneKeys(cron.lane).crons, cron.name)
        try:
            return None if last is None else datetime.fromtimestamp(int(last) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    async def _run_cron(self, cron: Cron) -> None:
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
                well, wait = False, _RETRY
            await asyncio.sleep(wait.total_seconds())

    async def _step(self, cron: Cron, since: datetime, now: datetime) -> timedelta:
        """Request the due tick and return the wait until the next step. A new cron begins with its next tick."""
        last = await self.last_tick(cron)
        due = cron.schedule.next_after(since if last is None or last > now + _AHEAD else last)
        if due > now:
            return min(due - now, _LONGEST_WAIT)
        if await self.request_tick(cron, cron.schedule.last_until(now)) < 0:
            return _RETRY
        return timedelta(0)
