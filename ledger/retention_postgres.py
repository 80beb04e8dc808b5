"""Retention: days that are old enough are removed as a whole, once all their jobs have ended.

A partition is dropped, not emptied row by row: that costs the same for a thousand rows and for ten million. It
waits only 200 ms for its lock, because writers wait behind it; a day whose lock is not free is left for the next
time.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import asyncpg

from ledger.live_jobs import has_ended
from ledger.records import recorded_days
from reports.connection_postgres import Connection

RetentionOutcome = Literal["removed", "live", "locked"]
"""`live`: the day has jobs that have not ended. `locked`: a lock was not free."""
ATTEMPTS = 5
"""Number of attempts to lock a day."""


@dataclass(frozen=True, slots=True)
class AgedDay:
    """A day that is old enough to be removed, and the outcome, or what it would be."""

    day: date
    outcome: RetentionOutcome


async def remove_days(connection: Connection, before: date, *, dry_run: bool = False) -> list[AgedDay]:
    """Remove the days before this one whose jobs have all ended.

    Args:
        before: not later than yesterday.
        dry_run: True to change nothing.

    Raises:
        DATABASE_FAULTS: the database refused, or did not answer; days that were removed stay removed.
    """
    act = _judge if dry_run else _remove
    days = [day for day in await recorded_days(connection) if day < before]
    return [AgedDay(day, await act(connection, day)) for day in days]


async def _judge(connection: Connection, day: date) -> RetentionOutcome:
    return "removed" if await has_ended(connection, day) else "live"


async def _remove(connection: Connection, day: date) -> RetentionOutcome:
    for _ in range(ATTEMPTS):
        try:
            removed = await connection.fetchval("SELECT momentus_ledger.drop_day($1)", day)
        except asyncpg.LockNotAvailableError:
            continue
        return "removed" if removed else "live"
    return "locked"
