"""Asked for some nodes, a report returns the rows that it returns for them among all, whichever they are.

For the shipped reports on a real and on invented organisations, and for reports drawn from the shapes that
docs/reports.md shows, each with the plan of these values and with the one that a prepared statement settles on.
"""

import argparse
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.organisation import OrganisationSize, generate_organisation, read_world
from local.organisation.postgres import install_schema, load_rows
from ops.command import Tools
from ops.reports.check import check_reports
from reports import Report, load_reports, parse_report
from reports.day import day_around
from tests.acceptance.test_report_validity import TO_COME

WORLD = Path(__file__).parents[3] / "shared" / "data" / "world"
NOW = datetime(2026, 11, 5, 6, 30, tzinfo=UTC)
ZONE = ZoneInfo("America/Lima")
SIZE = OrganisationSize(nodes=60, depth=6, employees=150, memberships=20, tasks=800, checkins=3_000, blockers=600)
MODES = ("force_custom_plan", "force_generic_plan")


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def rows_of(
    connection: Any, report: Report, now: datetime, nodes: Sequence[Any] | None = None
) -> dict[Any, dict[str, object]]:
    """The rows by node, for all nodes or for these, without the order that no roll-up sees."""
    day = day_around(now, ZONE)
    values = {"now": now, "day_start": day.start, "day_end": day.end, "zone": day.zone, "nodes": nodes}
    sql, names = report.sql, report.parameters
    if nodes is not None:
        sql, names = report.sql_of_nodes, report.sql_of_nodes_parameters
    rows = await connection.fetch(sql, *[values[name] for name in names])
    assert len({row[report.scope] for row in rows}) == len(rows)
    return {row[report.scope]: {name: plain(value) for name, value in row.items()} for row in rows}


def plain(value: object) -> object:
    if isinstance(value, str) and value[:1] in {"{", "["}:
        return orjson.loads(value)
    return sorted(value, key=str) if isinstance(value, list) else value


async def assert_some_are_as_among_all(
    connection: Any, report: Report, now: datetime, every: Sequence[Any], random: Random
) -> int:
    """Compare for sets of all sizes. Returns the number of rows that were compared."""
    whole, compared = await rows_of(connection, report, now), 0
    sizes = [0, 1, 1, 1, 2, 5, len(every) // 10, len(every)]
    for size in sizes:
        asked = random.sample(every, min(size, len(every)))
        for mode in MODES:
            await connection.execute(f"SET plan_cache_mode = {mode}")
            found = await rows_of(connection, report, now, asked)
            expected = {node: row for node, row in whole.items() if node in asked}
            wrong = [one for one in found.keys() | expected if found.get(one) != expected.get(one)]
            assert not wrong, (report.sql_of_nodes, asked)
            compared += len(found)
    return compared


async def nodes_of(connection: Any, report: Report) -> list[Any]:
    return [row["id"] for row in await connection.fetch(report.tree)]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3))])
async def test_shipped_reports_return_some_nodes_as_among_all_of_an_invented_organisation(
    connection: Any, seed: int
) -> None:
    await install_schema(connection)
    await load_rows(connection, generate_organisation(SIZE, seed=seed, now=NOW))
    for statement in TO_COME.split(";"):
        await connection.execute(statement, NOW)
    random = Random(seed)  # noqa: S311  a sample, not a secret
    for report in load_reports().values():
        every = await nodes_of(connection, report)
        for now in (NOW, NOW + timedelta(hours=random.randrange(48))):
            assert await assert_some_are_as_among_all(connection, report, now, every, random) > len(every)


@pytest.mark.skipif(not WORLD.is_dir(), reason="the real organisation is not on this machine")
async def test_shipped_reports_return_some_nodes_as_among_all_of_the_real_organisation(connection: Any) -> None:
    await install_schema(connection)
    await load_rows(connection, read_world(WORLD))
    random, now = Random(7), datetime(2024, 3, 31, 0, 30, tzinfo=UTC)  # noqa: S311  a sample
    for report in load_reports().values():
        every = await nodes_of(connection, report)
        await assert_some_are_as_among_all(connection, report, now, every, random)


async def test_shipped_reports_pass_their_check_and_read_no_rows_of_other_nodes(
    database: str, connection: Any
) -> None:
    await install_schema(connection)
    await load_rows(connection, generate_organisation(SIZE, seed=4, now=NOW))
    await connection.execute("ANALYZE")
    tools = Tools(redis=Redis(), redis_url="", postgres_dsn=database, statement_timeout=timedelta(seconds=30))
    answer = await check_reports(tools, argparse.Namespace(path=None, pin=False, plan=False))
    assert answer.done, answer.text
    assert not [note for note in answer.facts["notes"] if "reads rows of all nodes" in note]
    assert all(one["one_node_ms"] is not None for one in answer.facts["reports"].values())


IDS: Mapping[str, Any] = {
    "integer": lambda number: number,
    "uuid": lambda number: UUID(int=number),
    "text": lambda number: f"node-{number}",
}
MEASURES = {
    "items": ("count(*)", "sum"),
    "amount": ("sum(amount)", "sum"),
    "mean": ("avg(amount)", "avg by items"),
    "late": ("bool_or(late)", "any"),
    "first_at": ("min(at)", "min"),
    "first": ("(array_agg(id ORDER BY at, id))[1]", "of first_at"),
    "last_name": ("max(name)", "max"),
    "people": ("array_agg(DISTINCT person)", "distinct"),
    "everybody": ("array_agg(person) FILTER (WHERE NOT late)", "distinct"),
    "changes_at": ("min(at) FILTER (WHERE at > :now)", ""),
    "of_day": ("count(*) FILTER (WHERE at >= :day_start AND at < :day_end)", "sum"),
}
BY_NAME = """
SELECT node_id, jsonb_object_agg(name, number) AS by_name
FROM (SELECT node_id, name, count(*) AS number FROM {rows} GROUP BY node_id, name) AS counted
GROUP BY node_id
"""
OLDEST = """
SELECT node_id, jsonb_agg(jsonb_build_object('id', id, 'amount', amount) ORDER BY place) AS oldest
FROM (SELECT *, row_number() OVER (PARTITION BY node_id ORDER BY amount, id) AS place FROM {rows}) AS ranked
WHERE place <= 3
GROUP BY node_id
"""
NOTES = "SELECT node_id, count(*) AS notes FROM lab.notes WHERE {asked} AND noted_at <= :now GROUP BY node_id"
BESIDE = {
    "by_name": (BY_NAME, "sums"),
    "oldest": (OLDEST, "top 3 by amount, id asc"),
    "notes": (NOTES, "sum"),
}
SHAPES = ("direct", "common", "joined")
"""Where the condition is written: at each table, once in a common table expression, or beside a join."""
CONDITIONS = ("true", "at <= :now", "NOT late", "closed_at IS NULL OR closed_at > :now")


def draw_report(random: Random, of_type: str) -> Report:
    """A report of random measures and of one of the documented shapes."""
    chosen = random.sample(sorted(MEASURES), random.randint(1, 5))
    chosen += [weight for name, weight in (("mean", "items"), ("first", "first_at")) if name in chosen]
    beside = random.sample(sorted(BESIDE), random.randint(0, 3))
    cast = random.choice(["", f"::{of_type}[]"])
    asked, shape = f"node_id = ANY(:nodes{cast})", random.choice(SHAPES)
    condition = random.choice(CONDITIONS)
    tables = "lab.items JOIN lab.nodes ON nodes.id = node_id" if shape == "joined" else "lab.items"
    rows = f"SELECT items.* FROM {tables} WHERE {asked} AND ({condition})"  # noqa: S608  ours
    parts = [f"chosen AS ({rows})"] if shape == "common" else []
    table = "chosen" if shape == "common" else f"({rows}) AS chosen"
    measures = ", ".join(f"{MEASURES[name][0]} AS {name}" for name in dict.fromkeys(chosen))
    parts.append(f"direct AS (SELECT node_id, {measures} FROM {table} GROUP BY node_id)")  # noqa: S608  ours
    parts += [f"{name} AS ({BESIDE[name][0].format(rows=table, asked=asked)})" for name in beside]
    joins = " ".join(f"FULL JOIN {name} USING (node_id)" for name in beside)
    query = f"WITH {', '.join(parts)} SELECT * FROM direct {joins}"  # noqa: S608  ours
    rollup = {name: MEASURES[name][1] for name in chosen if MEASURES[name][1]}
    rollup |= {name: BESIDE[name][1] for name in beside}
    until = "column changes_at" if "changes_at" in chosen else "change"
    return parse_report(head(rollup or {"node_id": "max"}, until) + query, file="drawn.sql", trees=TREES)


TREES = {"lab": "SELECT id, NULL AS parent_id, id::text AS name, '' AS kind FROM lab.nodes"}


def head(rollup: Mapping[str, str], until: str) -> str:
    lines = [
        *('name = "drawn"', 'scope = "node_id"', 'tree = "lab"', 'every = "1m"', f'valid_until = "{until}"'),
        'sources = ["lab.nodes", "lab.items", "lab.notes"]',
        'freshness = {soft = "90s", hard = "5m", debounce = "1s"}',
        '[nodes]\n-- "lab.items" = "node_id"\n-- "lab.notes" = "node_id"',
        "[rollup]",
        *(f'{name} = "{how}"' for name, how in rollup.items()),
    ]
    return "\n".join(["-- +++", *(f"-- {line}" for line in lines), "-- +++", ""])


async def fill(connection: Any, random: Random, of_type: str, ids: Sequence[Any]) -> None:
    """Tables with ties, nulls, rows without a node, and nodes without rows."""
    await connection.execute(
        f"""
        DROP SCHEMA IF EXISTS lab CASCADE;
        CREATE SCHEMA lab;
        CREATE TABLE lab.nodes (id {of_type} PRIMARY KEY);
        CREATE TABLE lab.items (
            id bigint, node_id {of_type}, amount numeric NOT NULL, late boolean NOT NULL, name text NOT NULL,
            person bigint, at timestamptz NOT NULL, closed_at timestamptz
        );
        CREATE TABLE lab.notes (node_id {of_type}, noted_at timestamptz NOT NULL);
        """
    )
    some = [None, *random.sample(ids, len(ids) // 2)]

    def instant() -> datetime:
        return NOW + timedelta(hours=random.randint(-40, 10))

    items = [
        (
            *(number, random.choice(some), random.randint(0, 3), random.random() < 0.3),
            *(random.choice("abc"), random.choice([None, 1, 2, 3]), instant(), random.choice([None, instant()])),
        )
        for number in range(300)
    ]
    notes = [(random.choice([None, *ids]), instant()) for _ in range(60)]
    await connection.copy_records_to_table("nodes", schema_name="lab", records=[(one,) for one in ids])
    await connection.copy_records_to_table("items", schema_name="lab", records=items)
    await connection.copy_records_to_table("notes", schema_name="lab", records=notes)
    if random.random() < 0.5:
        await connection.execute("CREATE INDEX ON lab.items (node_id, at)")
    await connection.execute("ANALYZE")


@pytest.mark.parametrize("of_type", sorted(IDS))
async def test_reports_of_all_documented_shapes_return_some_nodes_as_among_all(
    connection: Any, of_type: str
) -> None:
    random, compared = Random(of_type), 0  # noqa: S311  a sample, not a secret
    for _ in range(3):
        every = [IDS[of_type](number) for number in range(1, 41)]
        await fill(connection, random, of_type, every)
        for _ in range(12):
            report = draw_report(random, of_type)
            compared += await assert_some_are_as_among_all(connection, report, NOW, every, random)
    assert compared > 1000
