"""How long the shipped reports say that their numbers hold, where only time goes on and nobody writes.

From instant to instant, each the one at which the report says that its numbers end: right before it every document
is what it was. What the rows themselves say of it (`column NAME`) and what the database is asked agree.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from reports import Report, load_reports
from reports.day import day_around
from reports.source_postgres import DatabaseSnapshot, Source
from tests.boards import report, shop
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import compute_documents

REPORTS = load_reports()
NOW = datetime(2026, 11, 5, 6, 30, tzinfo=UTC)
LIMA = ZoneInfo("America/Lima")
INSTANT = timedelta(microseconds=1)
SIZE = OrganisationSize(nodes=12, depth=3, employees=40, memberships=5, tasks=60, checkins=300, blockers=60)
TO_COME = """
UPDATE organisation.employees
    SET joined_at = $1::timestamptz + id * interval '7 min', left_at = NULL WHERE id % 7 = 1;
UPDATE organisation.employees SET left_at = $1::timestamptz + id * interval '11 min' WHERE id % 7 = 2;
UPDATE organisation.checkins SET at = $1::timestamptz + id * interval '13 min' WHERE id % 29 = 1;
UPDATE organisation.blockers
    SET opened_at = $1::timestamptz + id * interval '17 min', closed_at = NULL WHERE id % 9 = 1;
UPDATE organisation.blockers SET closed_at = $1::timestamptz + id * interval '19 min' WHERE id % 9 = 2;
UPDATE organisation.tasks
    SET created_at = $1::timestamptz + id * interval '23 min', closed_at = NULL WHERE id % 9 = 1;
UPDATE organisation.tasks SET due_at = $1::timestamptz + id * interval '29 min' WHERE id % 9 IN (1, 2);
UPDATE organisation.tasks SET closed_at = $1::timestamptz + id * interval '31 min' WHERE id % 9 IN (2, 3)
"""
"""Rows of all kinds that are to come, to end, or both."""


@pytest.fixture
async def source(database: str) -> AsyncIterator[Source]:
    connection = await asyncpg.connect(database)
    await install_schema(connection)
    await load_rows(connection, generate_organisation(SIZE, seed=5, now=NOW))
    for statement in TO_COME.split(";"):
        await connection.execute(statement, NOW)
    await connection.close()
    source = Source(database, statement_timeout=timedelta(seconds=30))
    yield source
    await source.close()


async def etags(state: DatabaseSnapshot, shipped: Report, now: datetime) -> dict[int, str]:
    return {node: one.etag for node, one in (await compute_documents(state, shipped, now=now, zone=LIMA)).items()}


async def asked(source: Source, shipped: Report, now: datetime) -> datetime:
    """What the database says, of a snapshot in which nobody asked for the rows."""
    async with source.snapshot() as state:
        return await state.valid_until(shipped, now=now, day=day_around(now, LIMA))


@pytest.mark.parametrize("name", ["management", "blockers", "workload", "activity"])
async def test_nothing_changes_before_the_instant_at_which_the_numbers_are_said_to_end(
    source: Source, name: str
) -> None:
    shipped, now, changed = REPORTS[name], NOW, list[bool]()
    for _ in range(40):
        async with source.snapshot() as state:
            at_first = await etags(state, shipped, now)
            until = await state.valid_until(shipped, now=now, day=day_around(now, LIMA))
            if until is None:
                break
            assert until > now
            assert await etags(state, shipped, until - INSTANT) == at_first
            changed.append(await etags(state, shipped, until) != at_first)
        assert until == await asked(source, shipped, now)
        now = until
    assert changed.count(True) > 0.7 * len(changed) > 5  # and few of the instants are named in vain


async def test_who_has_the_rows_does_not_ask_again(source: Source) -> None:
    shipped, day = REPORTS["management"], day_around(NOW, LIMA)
    assert shipped.valid_until_column
    async with source.snapshot() as state:
        await state.rows(shipped, now=NOW, day=day)
        spent = state.spent
        assert await state.valid_until(shipped, now=NOW, day=day) > NOW
        assert state.spent == spent
        await state.valid_until(shipped, now=NOW + INSTANT, day=day)
        assert state.spent > spent


@pytest.mark.parametrize(
    ("column", "words"), [("1 AS other", "the column ends"), ("'x' AS ends", "must be a timestamptz")]
)
async def test_a_column_that_is_not_there_or_holds_no_instants_is_refused(
    database: str, valkey_url: str, column: str, words: str
) -> None:
    sql = f"SELECT node_id, sum(amount) AS amount, {column} FROM shop.orders GROUP BY node_id"  # noqa: S608  ours
    until = f"SELECT min(ends) FROM (\n{sql}\n) AS rows"  # noqa: S608  ours
    broken = report(sql=sql, parameters=(), valid_until=until, valid_until_column="ends")
    async with shop(database, valkey_url, broken) as it:
        await it.order(5)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
    assert words in outcome.failed["sales"]
