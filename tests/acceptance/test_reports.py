"""The refresh's promises, on the real organisation and on invented ones, against real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.organisation import Organisation, OrganisationSize, generate_organisation, read_world
from local.organisation.postgres import install_schema, load_rows
from reports import load_reports
from reports.day import day_around
from reports.keys import snapshot
from reports.source_postgres import Source
from reports.store import ReportStore
from tests import oracle
from tests.boards import refresh_own_board
from worker.engine import TryLater
from worker.reports.refresh import refresh_report
from worker.reports.refresh_context import RefreshContext, compute_documents

WORLD = Path(__file__).parents[3] / "shared" / "data" / "world"
REPORT = load_reports()["management"]
KEY = snapshot("default", "management")


async def filled(dsn: str, organisation: Organisation) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await install_schema(connection)
        await load_rows(connection, organisation)
    finally:
        await connection.close()


@asynccontextmanager
async def refresher_on(dsn: str, url: str, zone: str = "UTC") -> AsyncIterator[RefreshContext]:
    source = Source(dsn, statement_timeout=timedelta(seconds=30))
    async with Redis.from_url(url) as redis:
        try:
            yield RefreshContext(
                "default", {"management": REPORT}, source, ReportStore(redis, tenant="default"), ZoneInfo(zone)
            )
        finally:
            await source.close()


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def tables_of(organisation: Organisation) -> dict[str, Any]:
    return {table.name: oracle.named(table.column_names, rows) for table, rows in organisation.tables()}


def numbers(document: bytes) -> dict[str, dict[str, Any]]:
    data = orjson.loads(document)["data"]
    return {part: _as_the_oracle_says(data[part]) for part in ("total", "own")}


def _as_the_oracle_says(values: dict[str, Any]) -> dict[str, Any]:
    at = values["oldest_blocker_at"]
    return {**values, "oldest_blocker_at": None if at is None else datetime.fromisoformat(at)}


INSTANTS = [
    (datetime(2018, 6, 21, 22, 29, 50, tzinfo=UTC), "UTC"),
    (datetime(2021, 3, 28, 0, 30, tzinfo=UTC), "Europe/Madrid"),
    (datetime(2023, 11, 5, 6, 30, tzinfo=UTC), "America/New_York"),
    (datetime(2024, 10, 8, 23, 59, 59, tzinfo=UTC), "Asia/Kolkata"),
    (datetime(2026, 6, 10, 15, 0, tzinfo=UTC), "America/Lima"),
]


@pytest.mark.skipif(not WORLD.is_dir(), reason="the real organisation is not on this machine")
@pytest.mark.parametrize(("now", "zone"), INSTANTS)
async def test_every_nodes_document_of_the_real_organisation_equals_the_slow_computation(
    world: str, valkey_url: str, now: datetime, zone: str
) -> None:
    expected = oracle.management(oracle.read_csv(WORLD), now=now, zone=zone)
    async with refresher_on(world, valkey_url) as refresher, refresher.source.snapshot() as state:
        documents = await compute_documents(state, REPORT, now=now, zone=ZoneInfo(zone))
    assert {node: numbers(document.body) for node, document in documents.items()} == expected


@pytest.fixture
async def world(database: str) -> str:
    await filled(database, read_world(WORLD))
    return database


async def test_stored_documents_equal_the_slow_computation_on_an_invented_organisation(
    database: str, valkey_url: str
) -> None:
    size = OrganisationSize(
        nodes=60, depth=6, employees=300, memberships=50, tasks=500, checkins=4_000, blockers=400
    )
    organisation = generate_organisation(size, seed=7, now=datetime.now(UTC))
    await filled(database, organisation)
    async with refresher_on(database, valkey_url) as refresher:
        await refresh_own_board(refresher, REPORT)
    async with Redis.from_url(valkey_url) as redis:
        stored = await redis.hgetall(KEY)
    as_of = datetime.fromtimestamp(orjson.loads(stored[b"_meta"])["as_of_us"] / 1_000_000, UTC)
    expected = oracle.management(tables_of(organisation), now=as_of, zone="UTC")
    assert {node: numbers(stored[str(node).encode()]) for node in expected} == expected


@pytest.fixture
async def small(database: str) -> str:
    size = OrganisationSize(nodes=12, depth=3, employees=40, memberships=5, tasks=30, checkins=200, blockers=30)
    await filled(database, generate_organisation(size, seed=1, now=datetime.now(UTC)))
    return database


async def test_a_refresh_without_change_writes_no_body_and_keeps_every_etag(small: str, valkey_url: str) -> None:
    async with refresher_on(small, valkey_url) as refresher:
        first = await refresh_own_board(refresher, REPORT)
        before = await refresher.store.read_set("management")
        again = await refresh_own_board(refresher, REPORT)
        after = await refresher.store.read_set("management")
    assert (first["changed"], again["changed"]) == (12, 0)
    assert before.etags == after.etags
    assert after.generation == before.generation + 1


async def test_a_new_checkin_changes_its_node_and_all_above_and_nothing_else(small: str, valkey_url: str) -> None:
    async with refresher_on(small, valkey_url) as refresher, connected(small) as connection:
        await refresh_own_board(refresher, REPORT)
        before = (await refresher.store.read_set("management")).etags
        leaf = await connection.fetchval(
            "SELECT id FROM organisation.nodes WHERE id NOT IN (SELECT parent_id FROM organisation.nodes"
            " WHERE parent_id IS NOT NULL) LIMIT 1"
        )
        await connection.execute(
            "INSERT INTO organisation.checkins SELECT 1000001, min(id), $1, now(), 'office'"
            " FROM organisation.employees",
            leaf,
        )
        await refresh_own_board(refresher, REPORT)
        after = (await refresher.store.read_set("management")).etags
        path = (await state_of(valkey_url, f"head:{leaf}"))["path"]
    assert {node for node in before if before[node] != after[node]} == set(path)


async def state_of(url: str, field: str) -> Any:
    async with Redis.from_url(url) as redis:
        return orjson.loads(await redis.hget(KEY, field))


async def test_a_removed_node_leaves_a_tombstone_until_it_comes_back(small: str, valkey_url: str) -> None:
    new_node = "INSERT INTO organisation.nodes SELECT 999, min(id), 'Nuevo', 'team' FROM organisation.nodes"
    async with refresher_on(small, valkey_url) as refresher, connected(small) as connection:
        await connection.execute(new_node)
        await refresh_own_board(refresher, REPORT)
        await connection.execute("DELETE FROM organisation.nodes WHERE id = 999")
        facts = [await refresh_own_board(refresher, REPORT) for _ in range(2)]
        assert [one["gone"] for one in facts] == [1, 0]
        async with Redis.from_url(valkey_url) as redis:
            body, head, gone = await redis.hmget(KEY, "999", "head:999", "gone:999")
            assert body is None
            assert orjson.loads(head)["path"][-1] == 999
            assert int(gone) > 0
            await connection.execute(new_node)
            await refresh_own_board(refresher, REPORT)
            body, gone = await redis.hmget(KEY, "999", "gone:999")
    assert body
    assert gone is None


async def test_a_paused_old_worker_cannot_overwrite_a_newer_set(small: str, valkey_url: str) -> None:
    async with refresher_on(small, valkey_url) as paused, refresher_on(small, valkey_url) as other:
        published, resume = asyncio.Event(), asyncio.Event()
        publish = paused.store.publish_set

        async def late(*arguments: Any, **options: Any) -> str:
            published.set()
            await resume.wait()
            return await publish(*arguments, **options)

        paused.store.publish_set = late  # type: ignore[method-assign]
        old = asyncio.create_task(refresh_own_board(paused, REPORT))
        await published.wait()
        newer = await refresh_own_board(other, REPORT)
        resume.set()
        assert (await old)["state"] == "superseded"
    assert (await state_of(valkey_url, "_meta"))["as_of_us"] == newer["as_of_us"]


async def test_changes_found_against_another_generation_are_found_again(small: str, valkey_url: str) -> None:
    async with refresher_on(small, valkey_url) as early, refresher_on(small, valkey_url) as late:
        stored = early.store.read_set
        interfered = False

        async def meanwhile(report: str, *, day: str = "") -> Any:
            nonlocal interfered
            found = await stored(report, day=day)
            if not interfered:
                interfered = True
                async with Redis.from_url(valkey_url) as redis:
                    await redis.hset(KEY, mapping={"_gen": 7, "_as_of": 1})
            return found

        early.store.read_set = meanwhile  # type: ignore[method-assign]
        facts = await refresh_own_board(early, REPORT)
        assert facts["state"] == "stored"
        assert (await late.store.read_set("management")).generation == 8


async def test_sql_that_fails_keeps_the_last_good_set_and_says_why(small: str, valkey_url: str) -> None:
    async with refresher_on(small, valkey_url) as refresher, connected(small) as connection:
        await refresh_own_board(refresher, REPORT)
        before = await refresher.store.read_set("management")
        await connection.execute("ALTER TABLE organisation.tasks RENAME TO gone")
        with pytest.raises(TryLater, match="UndefinedTableError"):
            await refresh_report({"refresher": refresher}, "default", "management")
        assert (await refresher.store.read_set("management")).etags == before.etags
    assert "UndefinedTableError" in (await state_of(valkey_url, "_error"))["error"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE organisation.nodes SET parent_id = NULL WHERE id = 2", "must have one root"),
        ("UPDATE organisation.nodes SET parent_id = 2 WHERE id = 2", "cycle"),
    ],
)
async def test_a_damaged_tree_is_refused_and_the_last_good_set_stays(
    small: str, valkey_url: str, damage: str, words: str
) -> None:
    async with refresher_on(small, valkey_url) as refresher, connected(small) as connection:
        await refresh_own_board(refresher, REPORT)
        before = await refresher.store.read_set("management")
        await connection.execute(damage)
        with pytest.raises(TryLater, match=words):
            await refresh_report({"refresher": refresher}, "default", "management")
        assert (await refresher.store.read_set("management")).etags == before.etags


def test_a_local_day_has_23_24_or_25_hours() -> None:
    madrid = ZoneInfo("Europe/Madrid")
    lengths = [
        day_around(datetime(2026, month, day, 12, tzinfo=UTC), madrid)
        for month, day in ((3, 29), (6, 1), (10, 25))
    ]
    assert [(day.end - day.start) // timedelta(hours=1) for day in lengths] == [23, 24, 25]


async def test_another_tenants_refresh_is_left_to_a_worker_of_that_tenant(small: str, valkey_url: str) -> None:
    async with refresher_on(small, valkey_url) as refresher:
        with pytest.raises(TryLater, match="does not serve 'other'") as left:
            await refresh_report({"refresher": refresher}, "other", "management")
        assert not left.value.charged
        assert (await refresher.store.read_set("management")).generation == 0
