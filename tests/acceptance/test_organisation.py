"""The organisation in a real Postgres: what goes in comes out, whole or not at all, and the oracle is right.

The oracle is held against two other ways to the same numbers: a small company counted by hand, and a plain
recursive SQL walk over an invented and a real organisation.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from local.organisation import Organisation, OrganisationSize, generate_organisation, read_world
from local.organisation.errors import ForeignSchemaError, MissingSchemaError, RefusedRowsError
from local.organisation.postgres import count_rows, drop_schema, install_schema, load_rows
from local.organisation.tables import TableRows
from tests import oracle

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ZONE = "America/Bogota"
MONDAY = datetime(2026, 3, 2, 10, 30, tzinfo=ZoneInfo(ZONE))
SMALL = OrganisationSize(nodes=40, depth=5, employees=120, memberships=60, tasks=400, checkins=9_000, blockers=300)
LONE_ROOT = OrganisationSize(nodes=1, depth=0, employees=0, memberships=0, tasks=0, checkins=0, blockers=0)
WORLD = Path(__file__).parents[3] / "shared" / "data" / "world"
needs_world = pytest.mark.skipif(not WORLD.is_dir(), reason=f"no real organisation at {WORLD}")

WALK = """
WITH RECURSIVE below (root, id) AS (
    SELECT id, id FROM organisation.nodes
    UNION ALL
    SELECT below.root, nodes.id FROM below JOIN organisation.nodes ON nodes.parent_id = below.id
), subtree AS (
    SELECT root, CASE WHEN $3 THEN array_agg(id) ELSE ARRAY[root] END AS ids FROM below GROUP BY root
)
SELECT
    subtree.root AS node_id, employees, checkins_today, people_today,
    active_blockers, oldest_blocker_at, oldest_blocker_id, open_tasks, overdue_tasks
FROM subtree
CROSS JOIN LATERAL (
    SELECT count(*) AS employees FROM organisation.employees
    WHERE node_id = ANY (ids) AND joined_at <= $1 AND (left_at IS NULL OR left_at > $1)
) AS people
CROSS JOIN LATERAL (
    SELECT count(*) AS checkins_today, count(DISTINCT employee_id) AS people_today FROM organisation.checkins
    WHERE node_id = ANY (ids) AND at <= $1
      AND (at AT TIME ZONE $2)::date = ($1::timestamptz AT TIME ZONE $2)::date
) AS visits
CROSS JOIN LATERAL (
    SELECT count(*) AS active_blockers, min(opened_at) AS oldest_blocker_at,
           (array_agg(id ORDER BY opened_at, id))[1] AS oldest_blocker_id
    FROM organisation.blockers
    WHERE node_id = ANY (ids) AND opened_at <= $1 AND (closed_at IS NULL OR closed_at > $1)
) AS obstacles
CROSS JOIN LATERAL (
    SELECT count(*) AS open_tasks, count(*) FILTER (WHERE due_at < $1) AS overdue_tasks
    FROM organisation.tasks
    WHERE node_id = ANY (ids) AND created_at <= $1 AND (closed_at IS NULL OR closed_at > $1)
) AS duties
"""


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """To an empty database of the test's own."""
    opened = await asyncpg.connect(database)
    yield opened
    await opened.close()


def _small(seed: int = 1) -> Organisation:
    return generate_organisation(SMALL, seed=seed, now=MONDAY)


async def _load(connection: Connection, organisation: Organisation) -> None:
    await install_schema(connection)
    await load_rows(connection, organisation)


async def _contents(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        table.name: sorted(
            tuple(row)
            for row in await connection.fetch(f"SELECT * FROM organisation.{table.name}")  # noqa: S608
        )
        for table, _ in _small().tables()
    }


async def test_an_invented_organisation_comes_back_as_it_was_made(connection: Connection) -> None:
    await _load(connection, _small())
    assert await count_rows(connection) == _small().counts()
    assert await _contents(connection) == {table.name: sorted(rows) for table, rows in _small().tables()}


@needs_world
async def test_the_real_organisation_comes_back_as_it_was_read(connection: Connection) -> None:
    world = read_world(WORLD)
    await _load(connection, world)
    assert await count_rows(connection) == world.counts()
    assert await _contents(connection) == {table.name: sorted(rows) for table, rows in world.tables()}


async def test_a_load_replaces_what_was_there(connection: Connection) -> None:
    await _load(connection, _small(seed=2))
    await load_rows(connection, _small(seed=1))
    assert await _contents(connection) == {table.name: sorted(rows) for table, rows in _small().tables()}


async def test_every_reference_is_checked_and_indexed_after_a_load(connection: Connection) -> None:
    await _load(connection, _small())
    references = await connection.fetch(
        "SELECT conrelid::regclass::text AS name, convalidated, EXISTS (SELECT FROM pg_index"
        " WHERE indrelid = conrelid AND indkey[0] = conkey[1] AND indpred IS NULL) AS indexed"
        " FROM pg_constraint WHERE contype = 'f' AND connamespace = 'organisation'::regnamespace"
    )
    assert len(references) == 11
    assert all(reference["convalidated"] and reference["indexed"] for reference in references), references


async def test_rows_that_dangle_are_refused_and_the_earlier_rows_stay(connection: Connection) -> None:
    await _load(connection, _small())
    stray = replace(_small(seed=2), memberships=TableRows.held([(1, 41, "member")]))
    with pytest.raises(RefusedRowsError, match=r"rows: break memberships_node \(.*41") as refusal:
        await load_rows(connection, stray)
    assert refusal.value.constraint == "memberships_node"
    assert await _contents(connection) == {table.name: sorted(rows) for table, rows in _small().tables()}


async def test_a_reader_with_an_older_snapshot_still_sees_the_earlier_rows(
    connection: Connection, database: str
) -> None:
    await _load(connection, _small())
    reader = await asyncpg.connect(database)
    try:
        async with reader.transaction(isolation="repeatable_read"):
            assert await reader.fetchval("SELECT txid_current_snapshot() IS NOT NULL")
            await load_rows(connection, generate_organisation(LONE_ROOT, seed=1, now=MONDAY))
            assert await count_rows(reader) == _small().counts()
        assert await count_rows(reader) == generate_organisation(LONE_ROOT, seed=1, now=MONDAY).counts()
    finally:
        await reader.close()


async def test_installing_again_keeps_the_rows(connection: Connection) -> None:
    await _load(connection, _small())
    await install_schema(connection)
    assert await count_rows(connection) == _small().counts()


async def test_a_schema_of_somebody_else_is_neither_filled_nor_dropped(connection: Connection) -> None:
    await connection.execute("CREATE SCHEMA organisation")
    for refused in (install_schema(connection), drop_schema(connection), load_rows(connection, _small())):
        with pytest.raises(ForeignSchemaError, match="of another origin"):
            await refused
    assert await connection.fetchval("SELECT to_regnamespace('organisation') IS NOT NULL")


async def test_rows_without_a_schema_are_refused_with_the_remedy(connection: Connection) -> None:
    with pytest.raises(MissingSchemaError, match="call install"):
        await load_rows(connection, _small())
    with pytest.raises(MissingSchemaError, match="call install"):
        await count_rows(connection)


async def test_dropping_leaves_nothing_and_may_be_repeated(connection: Connection) -> None:
    await _load(connection, _small())
    await drop_schema(connection)
    await drop_schema(connection)
    assert await connection.fetchval("SELECT to_regnamespace('organisation') IS NULL")


def _hour(hour: int, *, day: int = 2) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def _company_counted_by_hand() -> dict[str, list[oracle.Record]]:
    """Company 1 over team 2 over squad 3; every boundary of the definition is met once at 10:00."""
    long_ago, now, later = _hour(9, day=1), _hour(10), _hour(11)
    people = [
        (1, 1, long_ago, None),
        (2, 2, now, None),
        (3, 3, long_ago, later),
        (4, 3, long_ago, now),
        (5, 3, later, None),
    ]
    checkins = [(1, 1, 3, _hour(0)), (2, 1, 2, now), (3, 3, 3, _hour(8)), (4, 3, 3, later)]
    checkins += [(5, 2, 1, _hour(0) - timedelta(seconds=1))]
    blockers = [
        (9, 2, long_ago, None),
        (8, 3, long_ago, later),
        (7, 3, _hour(8, day=1), now),
        (6, 1, later, None),
    ]
    tasks = [
        (1, 3, now, now, None),
        (2, 3, long_ago, _hour(9), None),
        (3, 2, long_ago, long_ago, now),
        (4, 1, later, now, None),
    ]
    return {
        "nodes": oracle.named(("id", "parent_id"), [(3, 2), (2, 1), (1, None)]),
        "employees": oracle.named(("id", "node_id", "joined_at", "left_at"), people),
        "checkins": oracle.named(("id", "employee_id", "node_id", "at"), checkins),
        "blockers": oracle.named(("id", "node_id", "opened_at", "closed_at"), blockers),
        "tasks": oracle.named(("id", "node_id", "created_at", "due_at", "closed_at"), tasks),
    }


MEASURES = (
    "employees",
    "checkins_today",
    "people_today",
    "active_blockers",
    "oldest_blocker_at",
    "oldest_blocker_id",
    "open_tasks",
    "overdue_tasks",
)


@pytest.mark.parametrize(
    ("node_id", "part", "expected"),
    [
        (1, "total", (3, 3, 2, 2, _hour(9, day=1), 8, 2, 1)),
        (1, "own", (1, 0, 0, 0, None, None, 0, 0)),
        (2, "total", (2, 3, 2, 2, _hour(9, day=1), 8, 2, 1)),
        (2, "own", (1, 1, 1, 1, _hour(9, day=1), 9, 0, 0)),
        (3, "total", (1, 2, 2, 1, _hour(9, day=1), 8, 2, 1)),
    ],
)
def test_the_oracle_counts_as_one_counts_by_hand(node_id: int, part: str, expected: tuple[object, ...]) -> None:
    report = oracle.management(_company_counted_by_hand(), now=_hour(10), zone=ZONE)
    assert tuple(report[node_id][part][measure] for measure in MEASURES) == expected


def test_the_oracle_refuses_a_tree_with_a_cycle() -> None:
    with pytest.raises(ValueError, match="its own ancestor"):
        oracle.subtrees_of(oracle.named(("id", "parent_id"), [(1, 2), (2, 1)]))


async def _walked(connection: Connection, now: datetime, zone: str, *, deep: bool) -> dict[int, oracle.Measures]:
    rows = [dict(row) for row in await connection.fetch(WALK, now, zone, deep)]
    return {row.pop("node_id"): row for row in rows}


async def _agrees(
    connection: Connection, report: dict[int, dict[str, oracle.Measures]], now: datetime, zone: str
) -> None:
    assert {node: parts["total"] for node, parts in report.items()} == await _walked(
        connection, now, zone, deep=True
    )
    assert {node: parts["own"] for node, parts in report.items()} == await _walked(
        connection, now, zone, deep=False
    )


async def test_the_oracle_agrees_with_a_walk_by_sql_over_an_invented_organisation(
    connection: Connection,
) -> None:
    await _load(connection, _small())
    records = {table.name: oracle.named(table.column_names, rows) for table, rows in _small().tables()}
    for now in (MONDAY, MONDAY - timedelta(days=3), MONDAY.replace(hour=0)):
        await _agrees(connection, oracle.management(records, now=now, zone=ZONE), now, ZONE)


@needs_world
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata"])
@pytest.mark.parametrize("now", ["2026-06-17T12:00:00Z", "2024-02-07T23:45:00Z", "2021-01-26T18:12:35Z"])
async def test_the_oracle_agrees_with_a_walk_by_sql_over_the_real_one(
    connection: Connection, now: str, zone: str
) -> None:
    await _load(connection, read_world(WORLD))
    instant = datetime.fromisoformat(now)
    await _agrees(connection, oracle.management(oracle.read_csv(WORLD), now=instant, zone=zone), instant, zone)
