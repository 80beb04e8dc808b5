"""The days of the shipped reports are the calendar's, where clocks change at midnight as well.

Around every change of a clock rows lie densely, and a report is asked for some days later. What it must say comes
from `tests.oracle_reports`, which asks Python's zones for the date of each row and reckons no midnight at all.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from local.organisation.postgres import install_schema
from reports import load_reports
from reports.day import day_around
from reports.source_postgres import Source
from tests import oracle, oracle_reports
from worker.reports.refresh_context import compute_documents

REPORTS = load_reports()
ORACLES = {"activity": oracle_reports.activity, "workload": oracle_reports.workload}
ZONES = (
    "America/Havana",  # in autumn its midnight comes twice
    "Atlantic/Azores",  # the same
    "America/Santiago",  # in spring it never comes
    "Asia/Beirut",  # never in spring; in autumn the hour before it comes twice
    "Africa/Cairo",  # the same
    "America/Nuuk",  # in spring the hour before it never comes
    "America/Scoresbysund",  # the same
    "America/Sao_Paulo",
    "America/Asuncion",
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # went without a whole date
    "Europe/Madrid",
    "America/New_York",
)
FIRST, LAST = datetime(2011, 12, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
"""Changes that have happened: of those to come, Python's tables and the database's may know different things."""
LEAP = timedelta(microseconds=1)
DAYS = (0, 1, 2, 6, 7, 8, 29, 30, 31, 33, 34, 35, 36, 89, 90, 91)
"""After a change; the shipped reports compute_measures with the dates 7, 30, 34 and 90 days ago."""


def changes_of(zone: ZoneInfo) -> Iterator[datetime]:
    """The instants at which the zone's clocks were changed, found by looking at the clock."""
    at, second = FIRST, timedelta(seconds=1)
    while at < LAST:
        then = at + timedelta(days=1)
        before = at.astimezone(zone).utcoffset()
        if before != then.astimezone(zone).utcoffset():
            seconds = range(86_400)
            yield at + second * bisect_left(
                seconds,
                1,
                key=lambda number, at=at, before=before: (
                    (at + second * number).astimezone(zone).utcoffset() != before
                ),
            )
        at = then


@cache
def all_changes() -> tuple[tuple[str, datetime], ...]:
    return tuple((name, at) for name in ZONES for at in changes_of(ZoneInfo(name)))


def rows_around(change: datetime, now: datetime) -> oracle.Tables:
    """A check-in and a task each half an hour for two days before and after, and right before each."""
    instants = [
        change + number * timedelta(minutes=30) - back for number in range(-96, 97) for back in (LEAP, 0 * LEAP)
    ]
    nodes = [{"id": 1, "parent_id": None, "name": "all", "kind": "root"}]
    people = [{"id": 1, "node_id": 1, "handle": "a", "role": "member", "joined_at": FIRST, "left_at": None}]
    kept = {"assignee_id": None, "due_at": None, "status": "open", "closed_at": None}
    checkins = [
        {"id": number, "employee_id": 1, "node_id": 1, "at": at, "kind": "office"}
        for number, at in enumerate([*instants, now, now + LEAP])
    ]
    tasks = [{"id": number, "node_id": 1, "created_at": at, **kept} for number, at in enumerate([*instants, now])]
    return {"nodes": nodes, "employees": people, "tasks": tasks, "checkins": checkins, "blockers": []}


async def hold(connection: Any, tables: oracle.Tables) -> None:
    """Let the database hold these rows and no others."""
    await connection.execute("TRUNCATE organisation.checkins, organisation.tasks, organisation.employees CASCADE")
    await connection.execute("TRUNCATE organisation.nodes CASCADE")
    for name in ("nodes", "employees", "tasks", "checkins"):
        rows = tables[name]
        columns = list(rows[0])
        records = [tuple(row[column] for column in columns) for row in rows]
        await connection.copy_records_to_table(name, schema_name="organisation", records=records, columns=columns)


async def answered(source: Source, report: str, now: datetime, zone: str) -> dict[str, Any]:
    async with source.snapshot() as state:
        document = (await compute_documents(state, REPORTS[report], now=now, zone=ZoneInfo(zone)))[1]
    return dict(orjson.loads(document.body)["data"]["total"])


def as_shown(measures: dict[str, Any]) -> dict[str, Any]:
    """Instants as JSON shows them."""
    return {
        name: one.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(one, datetime) else one
        for name, one in measures.items()
    }


def require_equal_to_the_slow_way(dsn: str, *, examples: int) -> None:
    with asyncio.Runner() as runner:
        source = Source(dsn, statement_timeout=timedelta(seconds=30))
        connection = runner.run(asyncpg.connect(dsn))
        runner.run(install_schema(connection))

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(
            change=st.sampled_from(all_changes()),
            days=st.sampled_from(DAYS),
            minutes=st.integers(-1_500, 1_500),
        )
        def holds(change: tuple[str, datetime], days: int, minutes: int) -> None:
            zone, at = change
            now = at + timedelta(days=days, minutes=minutes)
            tables = rows_around(at, now)
            runner.run(hold(connection, tables))
            for report, slow in ORACLES.items():
                expected = slow(tables, now=now, zone=zone)[1]["total"]
                assert runner.run(answered(source, report, now, zone)) == as_shown(expected), report

        try:
            holds()
        finally:
            runner.run(connection.close())
            runner.run(source.close())


async def test_days_are_the_calendars_around_every_change_of_a_clock(database: str) -> None:
    await asyncio.to_thread(require_equal_to_the_slow_way, database, examples=150)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_days_are_the_calendars_around_every_change_of_a_clock_in_a_long_run(database: str) -> None:
    await asyncio.to_thread(require_equal_to_the_slow_way, database, examples=3_000)


@pytest.mark.parametrize("zone", ZONES)
def test_the_worker_begins_a_day_at_the_first_instant_of_its_date(zone: str) -> None:
    """By looking at the clock each quarter of an hour around every change."""
    for change in changes_of(ZoneInfo(zone)):
        clock = [change + number * timedelta(minutes=15) for number in range(-300, 301)]
        first: dict[date, datetime] = {}
        for at in clock:
            first.setdefault(at.astimezone(ZoneInfo(zone)).date(), at)
        for begins in list(first.values())[1:]:
            assert day_around(begins, ZoneInfo(zone)).start == begins
            assert day_around(begins - LEAP, ZoneInfo(zone)).end == begins
