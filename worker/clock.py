"""The clock: asks for each report's refresh at its pace, and at the midnight that changes its numbers.

Every worker has one and all ask for the same thing: a refresh is a keep-latest job, so however many ask, at
most one waits. A tick that was missed while everything was down is made up for by the first one.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from redis.exceptions import RedisError

from jobs.reports import Report
from producers import NotEnqueued, Producer
from worker.events import emit
from worker.reports.day import day_around
from worker.reports.store import ReportStore

_AT_ONCE = timedelta(0)
_PAUSE = timedelta(seconds=1)


def wait_until_tick(report: Report, now: datetime, zone: ZoneInfo) -> timedelta:
    """How long until the report's next tick: a multiple of its pace, or midnight if that is sooner."""
    since_epoch = now - datetime(1970, 1, 1, tzinfo=UTC)
    wait = report.every - since_epoch % report.every
    if report.next_midnight:
        wait = min(wait, day_around(now, zone).end - now)
    return wait


async def run_clock(reports: Mapping[str, Report], store: ReportStore, producer: Producer, zone: ZoneInfo) -> None:
    """Tick until cancelled; begins with one refresh of each report."""
    ticks = (_tick(report, reports, store, producer, zone) for report in reports.values())
    await asyncio.gather(*ticks)


async def _tick(
    report: Report, reports: Mapping[str, Report], store: ReportStore, producer: Producer, zone: ZoneInfo
) -> None:
    while True:
        try:
            await store.declare(reports)  # at every tick, because Redis may have been emptied
            await producer.request_refresh(report.name, scope=None, delay=_AT_ONCE)
        except (NotEnqueued, RedisError) as error:
            emit("clock.failed", report=report.name, error=type(error).__name__)
            await asyncio.sleep(_PAUSE.total_seconds())
            continue
        wait = wait_until_tick(report, datetime.now(UTC), zone)
        await asyncio.sleep(wait.total_seconds())
