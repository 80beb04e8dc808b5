"""Every document of the shipped reports equals the slow computation, on a real and an invented organisation."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest

from local.organisation import Organisation, OrganisationSize, generate_organisation, read_world
from local.organisation.postgres import install_schema, load_rows
from reports import load_reports
from reports.day import day_around
from reports.source_postgres import Source
from tests import oracle, oracle_reports
from worker.reports.refresh_context import compute_documents

WORLD = Path(__file__).parents[3] / "shared" / "data" / "world"
REPORTS = load_reports()
ORACLES = {
    "management": oracle.management,
    "blockers": oracle_reports.blockers,
    "activity": oracle_reports.activity,
    "workload": oracle_reports.workload,
}
SANTIAGO = datetime(2026, 9, 6, 15, 30, tzinfo=UTC)
"""In Chile that day had no midnight."""
NOW = datetime(2026, 11, 5, 6, 30, tzinfo=UTC)
"""35 days before, in New York, clocks showed another offset."""
SIZE = OrganisationSize(
    nodes=60, depth=6, employees=150, memberships=20, tasks=800, checkins=6_000, blockers=1_500
)


@pytest.fixture
async def source(database: str) -> AsyncIterator[Source]:
    source = Source(database, statement_timeout=timedelta(seconds=30))
    yield source
    await source.close()


async def filled(dsn: str, organisation: Organisation) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await install_schema(connection)
        await load_rows(connection, organisation)
    finally:
        await connection.close()


async def documents(source: Source, name: str, now: datetime, zone: str) -> dict[int, Any]:
    async with source.snapshot() as state:
        found = await compute_documents(state, REPORTS[name], now=now, zone=ZoneInfo(zone))
    return {node: orjson.loads(document.body)["data"] for node, document in found.items()}


def in_instants(value: Any) -> Any:
    """What a document says, with its times as times."""
    if isinstance(value, dict):
        return {
            name: datetime.fromisoformat(one) if name.endswith("_at") and one else in_instants(one)
            for name, one in value.items()
        }
    return [in_instants(one) for one in value] if isinstance(value, list) else value


async def assert_all_equal(
    source: Source, tables: oracle.Tables, names: set[str], at: list[tuple[datetime, str]]
) -> None:
    for name in sorted(names):
        for now, zone in at:
            expected = ORACLES[name](tables, now=now, zone=zone)
            found = await documents(source, name, now, zone)
            parts = {
                node: {part: in_instants(data[part]) for part in ("total", "own")} for node, data in found.items()
            }
            assert parts == expected, (name, zone)


async def test_every_document_of_an_invented_organisation_equals_the_slow_computation(
    database: str, source: Source
) -> None:
    organisation = generate_organisation(SIZE, seed=11, now=NOW)
    await filled(database, organisation)
    tables = {table.name: oracle.named(table.column_names, rows) for table, rows in organisation.tables()}
    at = [(NOW, "America/New_York"), (SANTIAGO, "America/Santiago"), (NOW, "Asia/Kolkata")]
    await assert_all_equal(source, tables, set(ORACLES), at)


@pytest.mark.skipif(not WORLD.is_dir(), reason="the real organisation is not on this machine")
async def test_every_document_of_the_real_organisation_equals_the_slow_computation(
    database: str, source: Source
) -> None:
    await filled(database, read_world(WORLD))
    at = [(datetime(2024, 3, 31, 0, 30, tzinfo=UTC), "Europe/Madrid")]
    await assert_all_equal(source, oracle.read_csv(WORLD), set(ORACLES) - {"management"}, at)


async def test_what_is_promised_to_hold_until_an_instant_holds_until_then_and_not_after(
    database: str, source: Source
) -> None:
    await filled(database, generate_organisation(SIZE, seed=5, now=NOW))
    connection = await asyncpg.connect(database)
    await connection.execute(
        "UPDATE organisation.tasks SET due_at = $1, closed_at = NULL, status = 'open' WHERE id = 1",
        NOW + timedelta(hours=1),
    )
    await connection.close()
    zone, instant = ZoneInfo("UTC"), timedelta(microseconds=1)
    for name in ("workload", "management"):
        async with source.snapshot() as state:
            until = await state.valid_until(REPORTS[name], now=NOW, day=day_around(NOW, zone))
            said = [
                {
                    node: one.etag
                    for node, one in (await compute_documents(state, REPORTS[name], now=at, zone=zone)).items()
                }
                for at in (NOW, until - instant, until)
            ]
        assert until == NOW + timedelta(hours=1) + instant
        assert said[0] == said[1] != said[2]
