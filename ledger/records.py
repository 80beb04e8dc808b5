"""Records of the ledger: jobs with how they ended, read a day at a time.

A day is one partition, so a list of the latest jobs reads only the partitions of the latest days, however many
there are. There is no index over recipients, templates or states, because each would cost every transaction that
stages a job: a search reads the whole of each day.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from reports.connection_postgres import Connection

END_STATES = ("done", "suppressed", "dead", "cancelled", "discarded", "expired", "duplicate", "quarantined")
"""How a job may have ended; `duplicate`: its key was in use, `quarantined`: no worker could run it."""
LIVE_STATES = ("staged", "queued")
"""States of a live job: Redis has not taken it, or has."""

_FOLDER = Path(__file__).parent / "sql"
_DAYS, _RECORDS, _EFFECTS = (
    (_FOLDER / name).read_text(encoding="utf-8") for name in ("days.sql", "records.sql", "effects.sql")
)
_DAYS_OF = "SELECT DISTINCT day FROM momentus_ledger.jobs WHERE id = $1 ORDER BY day DESC"
_FORGET = "SELECT erased, live FROM momentus_ledger.forget($1)"
_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """One job in the ledger.

    Attributes:
        recipients: SHA-256 of each address in lower case.
        state: one of `END_STATES` or `LIVE_STATES`.
        attempt: the attempt that ended it; 0 if none was begun.
        reply: the server's final reply, or the reason; for a duplicate, the id of the first job.
        uncertain: True if an effect may have happened although no attempt recorded it.
    """

    id: str
    lane: str
    kind: str
    template: str
    recipients: tuple[str, ...] = field(repr=False)
    day: date
    staged_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    state: str
    attempt: int
    account: str
    reply: str = field(repr=False)
    uncertain: bool
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class LedgerEffect:
    """An effect that an attempt was about to begin."""

    attempt: int
    note: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Filter of records; an empty field admits all.

    Attributes:
        since, until: range of staging times, `until` excluded.
        recipient: SHA-256 of the address in lower case.
    """

    since: datetime | None = None
    until: datetime | None = None
    recipient: str | None = field(default=None, repr=False)
    template: str | None = None
    states: Sequence[str] = field(default=())

    def admits_day(self, day: date) -> bool:
        """Return True if the day may have matching records; the clock of a stager may be a day off."""
        first = None if self.since is None else self.since.astimezone(UTC).date() - timedelta(days=1)
        last = None if self.until is None else self.until.astimezone(UTC).date() + timedelta(days=1)
        return (first is None or day >= first) and (last is None or day <= last)


async def recorded_days(connection: Connection) -> list[date]:
    """Return the days for which the ledger may have rows, the oldest first. Raises DATABASE_FAULTS."""
    return [row["day"] for row in await connection.fetch(_DAYS)]


async def latest_records(connection: Connection, wanted: RecordFilter, *, limit: int) -> list[LedgerRecord]:
    """Return at most `limit` records, the latest first. Raises DATABASE_FAULTS."""
    found: list[LedgerRecord] = []
    for day in reversed(await recorded_days(connection)):
        if wanted.admits_day(day) and len(found) < limit:
            rows = await connection.fetch(_RECORDS, *_arguments(day, wanted), limit - len(found))
            found += map(_record, rows)
    return found


async def all_records(connection: Connection, wanted: RecordFilter) -> AsyncIterator[LedgerRecord]:
    """Yield all records, day by day, the latest of each day first, from one state of the database.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for day in await recorded_days(connection):
            if wanted.admits_day(day):
                async for row in connection.cursor(_RECORDS, *_arguments(day, wanted), None, prefetch=_BATCH):
                    yield _record(row)


async def read_record(connection: Connection, job_id: str) -> tuple[LedgerRecord, list[LedgerEffect]] | None:
    """Return a job's record and the effects that its attempts began; None if the ledger has no such job.

    If an id was staged on several days, the latest record counts. Raises DATABASE_FAULTS.
    """
    for found in await connection.fetch(_DAYS_OF, job_id):
        row = await connection.fetchrow(_RECORDS, *_arguments(found["day"], RecordFilter(), job_id), None)
        effects = await connection.fetch(_EFFECTS, found["day"], job_id)
        return _record(row), [LedgerEffect(**one) for one in effects]
    return None


async def forget_recipient(connection: Connection, digest: str) -> tuple[int, int]:
    """Erase the mails to an address: payload, digest and the server's replies of those that have ended.

    Those that Redis has not taken end as cancelled and are erased too.

    Args:
        digest: SHA-256 of the address in lower case.

    Returns:
        How many were erased, and how many have not ended: repeat it when they have.

    Raises:
        DATABASE_FAULTS: the database refused, or a lock was not free within a second; nothing was changed.
    """
    row = await connection.fetchrow(_FORGET, digest)
    return row["erased"], row["live"]


def _arguments(day: date, wanted: RecordFilter, job_id: str | None = None) -> tuple[object, ...]:
    states = list(wanted.states) or None
    return (day, wanted.since, wanted.until, wanted.recipient, wanted.template, states, job_id)


def _record(row: Mapping[str, Any]) -> LedgerRecord:
    return LedgerRecord(**{**row, "recipients": tuple(row["recipients"])})
