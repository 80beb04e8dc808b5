"""The self-audit: silent where all is well, loud where it is not, never about another state than the stored."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from reports import load_reports
from reports.boards import boards_of
from reports.keys import audit, snapshot
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script
from worker.reports.audit import Auditor, audit_report, audit_reports
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

REPORTS = load_reports()
ALL = 10**6


@pytest.fixture
async def connection(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database)
    size = OrganisationSize(
        nodes=30, depth=5, employees=120, memberships=10, tasks=300, checkins=1_500, blockers=200
    )
    await install_schema(connection)
    await load_rows(connection, generate_organisation(size, seed=3, now=datetime.now(UTC)))
    yield connection
    await connection.close()


@pytest.fixture
async def auditor(
    database: str, valkey_url: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> AsyncIterator[Auditor]:
    role = await connection.fetchval("SELECT current_user")
    await connection.execute(install_script("default", boards_of(REPORTS), role=role))
    source = Source(database, statement_timeout=timedelta(seconds=30))
    outbox = Outbox(database, tenant="default", boards=boards_of(REPORTS))
    async with Redis.from_url(valkey_url) as redis:
        store = ReportStore(redis, tenant="default")
        refresher = RefreshContext("default", REPORTS, source, store, ZoneInfo("America/Lima"), outbox)
        for board in refresher.boards.values():
            await refresh_board(refresher, board)
        yield Auditor(refresher, redis)
    await outbox.close()
    await source.close()


async def counted(auditor: Auditor, report: str) -> dict[str, int]:
    found = await auditor.redis.hgetall(audit("default", report))
    return {name.decode(): int(found[name]) for name in (b"audited", b"passed_over", b"mismatched")}


@pytest.mark.parametrize("report", sorted(REPORTS))
async def test_an_audit_of_every_node_finds_every_measure_of_a_shipped_report_as_it_is_stored(
    auditor: Auditor, report: str
) -> None:
    finding = await audit_report(auditor, REPORTS[report], nodes=ALL)
    assert (finding.audited, finding.wrong) == (30, ())
    assert await counted(auditor, report) == {"audited": 30, "passed_over": 0, "mismatched": 0}


async def test_a_number_that_somebody_changed_in_redis_is_found_by_node_and_measure(auditor: Auditor) -> None:
    key = snapshot("default", "management")
    document = orjson.loads(await auditor.redis.hget(key, "1"))
    document["data"]["total"]["employees"] += 1
    await auditor.redis.hset(key, "1", orjson.dumps(document).decode())
    finding = await audit_report(auditor, REPORTS["management"], nodes=ALL)
    assert finding.wrong == ((1, "employees"),)
    assert (await counted(auditor, "management"))["mismatched"] == 1
    last = orjson.loads(await auditor.redis.hget(audit("default", "management"), "last"))
    assert last["wrong"] == [[1, "employees"]]


async def test_a_change_that_left_no_mark_is_found(
    auditor: Auditor, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await connection.execute("ALTER TABLE organisation.checkins DISABLE TRIGGER USER")
    await connection.execute("DELETE FROM organisation.checkins")
    finding = await audit_report(auditor, REPORTS["activity"], nodes=ALL)
    assert (1, "checkins") in finding.wrong


async def test_a_set_that_is_known_to_be_behind_is_passed_over(
    auditor: Auditor, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await connection.execute("DELETE FROM organisation.checkins")
    finding = await audit_report(auditor, REPORTS["activity"], nodes=ALL)
    assert (finding.audited, finding.wrong) == (0, ())
    assert await counted(auditor, "activity") == {"audited": 0, "passed_over": 1, "mismatched": 0}


async def test_without_triggers_a_set_is_audited_while_nothing_was_written(
    auditor: Auditor, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    blind = Auditor(
        RefreshContext(
            "default", REPORTS, auditor.refresher.source, auditor.refresher.store, ZoneInfo("America/Lima")
        ),
        auditor.redis,
    )
    await refresh_board(blind.refresher, blind.refresher.boards["management"])
    assert (await audit_report(blind, REPORTS["blockers"])).audited == 3
    await connection.execute("UPDATE organisation.nodes SET name = 'another' WHERE id = 1")
    assert (await audit_report(blind, REPORTS["blockers"])).audited == 0


async def test_an_audit_that_the_database_refuses_ends_and_harms_no_other_report(
    auditor: Auditor, unused_tcp_port: int
) -> None:
    refused = replace(REPORTS["blockers"], sql="SELECT nothing FROM nowhere")
    some = replace(auditor, refresher=replace(auditor.refresher, reports={**REPORTS, "blockers": refused}))
    found = await audit_reports({"auditor": some})
    assert found.keys() == REPORTS.keys()
    assert found["blockers"] == {"audited": 0, "error": "UndefinedTableError"}
    assert found["workload"] == {"audited": 3, "mismatched": 0}
    away = Source(f"postgresql://127.0.0.1:{unused_tcp_port}/away", statement_timeout=timedelta(seconds=1))
    found = await audit_reports({"auditor": replace(auditor, refresher=replace(auditor.refresher, source=away))})
    assert found == {name: {"audited": 0, "error": "ConnectionRefusedError"} for name in REPORTS}
    await away.close()
