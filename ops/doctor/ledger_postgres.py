"""Checks of the ledger in Postgres: its schema, its days, jobs that wait to be handed over, rows set aside.

A relay hands a staged job over within milliseconds. One that waits for a minute has no relay, or one that cannot
do its work; then the worker's own findings say why.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import asyncpg

from ledger.schema import SchemaFault, SchemaMissing, SchemaState, read_state
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.durations import duration_text
from reports.connection_postgres import Connection, connect
from reports.source_postgres import DATABASE_FAULTS

_SECONDS = 5
_LONG = timedelta(minutes=1)
_WHERE = "ledger"
_FACTS = """
WITH waiting AS (SELECT id, day FROM momentus_ledger.pending LIMIT 10000)
SELECT
    (now() AT TIME ZONE 'UTC')::date AS today,
    (SELECT count(*) FROM waiting) AS pending,
    (SELECT extract(epoch FROM now() - min(staged_at))::float8
        FROM waiting JOIN momentus_ledger.jobs USING (id, day)) AS oldest
"""
_QUARANTINED = """
SELECT count(*) FROM momentus_ledger.ends
WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1 AND state = 'quarantined'
"""
_COUNT_SECONDS = 2
"""Longest time of a count that reads all ends of two days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """Facts of a ledger.

    Attributes:
        today: the database's day in UTC.
        pending: number of staged jobs that Redis has not taken, at most 10,000 of them.
        oldest: the time since the oldest of these was staged.
        quarantined: rows set aside since yesterday; None: there are too many ends to count.
    """

    state: SchemaState
    today: date | None = None
    pending: int = 0
    oldest: timedelta = timedelta(0)
    quarantined: int | None = None


async def gather_ledger(dsn: str) -> LedgerFacts | None:
    """Read the facts of the ledger; None if the database does not answer, or refuses them to this user."""
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(dsn, application="momentus-ops")
            try:
                return await _read_facts(connection)
            finally:
                await connection.close()
    except (*DATABASE_FAULTS, ValueError):
        return None


def judge_ledger(facts: LedgerFacts) -> Iterator[DoctorFinding]:
    """Return the findings about a ledger; none if no ledger is installed."""
    try:
        facts.state.demand()
    except SchemaMissing:
        return
    except SchemaFault as fault:
        yield wrong("ledger.unusable", _WHERE, fault=str(fault))
        return
    if facts.today is not None and (facts.state.last_day is None or facts.state.last_day <= facts.today):
        yield wrong("ledger.no_days", _WHERE, day=facts.state.last_day or "-")
    values = {"pending": facts.pending, "oldest": duration_text(facts.oldest.total_seconds())}
    if facts.pending and facts.oldest >= _LONG:
        yield wrong("ledger.pending", _WHERE, **values)
    else:
        yield fine("ledger.handed_over", _WHERE, pending=facts.pending)
    if facts.quarantined:
        yield warning("ledger.quarantined", _WHERE, rows=facts.quarantined)


async def _read_facts(connection: Connection) -> LedgerFacts:
    state = await read_state(connection)
    try:
        state.demand()
    except SchemaFault:
        return LedgerFacts(state=state)
    row = await connection.fetchrow(_FACTS)
    return LedgerFacts(
        state=state,
        today=row["today"],
        pending=row["pending"],
        oldest=timedelta(seconds=row["oldest"] or 0),
        quarantined=await _count_quarantined(connection),
    )


async def _count_quarantined(connection: Connection) -> int | None:
    try:
        return int(await connection.fetchval(_QUARANTINED, timeout=_COUNT_SECONDS))
    except (TimeoutError, asyncpg.QueryCanceledError):
        return None
