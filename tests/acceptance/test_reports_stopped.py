"""Reports that cannot be computed: each command says which, why and what to do."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from redis.asyncio import Redis
from ruamel.yaml import YAML
from structlog.testing import capture_logs

from local.installation import worker_ready
from local.sink.smtp import MailSink
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from reports import load_reports
from reports.source_postgres import Source, log_fields
from reports.store import FailureStreak, ReportStore
from tests.boards import shop
from tests.command_line import run_ops
from tests.report_worker import sales_worker
from tests.support import eventually
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

ROOT = Path(__file__).resolve().parents[2]
MISSING = 'UndefinedTableError: relation "organisation.'


DEAR = """-- +++
-- name = "dear"
-- scope = "node_id"
-- tree = "shops"
-- every = "10s"
-- sources = ["shop.nodes", "shop.orders"]
--
-- [freshness]
-- soft = "30s"
-- hard = "1m"
-- debounce = "0s"
--
-- [budget]
-- max_db_share = "0.01%"
--
-- [rollup]
-- amount = "sum"
-- +++
SELECT node_id, sum(amount) AS amount FROM shop.orders, pg_sleep(0.02) WHERE at <= :now GROUP BY node_id
"""


@pytest.fixture
async def empty(database: str, valkey_url: str) -> AsyncIterator[RefreshContext]:
    """The shipped reports on a database without any table, as a worker declares them."""
    source = Source(database, statement_timeout=timedelta(seconds=30))
    async with Redis.from_url(valkey_url) as redis:
        store = ReportStore(redis, tenant="default")
        refresher = RefreshContext("default", load_reports(), source, store, ZoneInfo("UTC"))
        await store.declare_reports(refresher.reports)
        yield refresher
    await source.close()


async def test_on_an_empty_database_each_command_names_the_missing_table_of_each_report_and_fails(
    empty: RefreshContext, database: str, valkey_url: str
) -> None:
    settings = {"REDIS_URL": valkey_url, "POSTGRES_DSN": database}
    code, out, _ = await run_ops("reports", "status", **settings)
    assert (code, out.count("was never computed")) == (1, 4)
    assert (await run_ops("depth", **settings))[0] == 0, "a worker may just have begun"
    with capture_logs() as said:
        for board in empty.boards.values():
            await refresh_board(empty, board)
    failed = {one["report"]: one["reason"] for one in said if one["event_name"] == "report.failed"}
    assert set(failed) == set(empty.reports)
    assert failed["blockers"] == 'relation "organisation.nodes" does not exist'
    code, out, _ = await run_ops("reports", "status", **settings)
    assert code == 1
    for name in empty.reports:
        assert f"{name}: {MISSING}" in out
    assert "MOMENTUS_REPORTS__SHIPPED=off" in out
    code, out, _ = await run_ops("depth", **settings)
    assert (code, out.count(MISSING)) == (1, 4)
    assert "reports fail: activity, blockers, management, workload; see ./run ops reports status" in out
    code, out, _ = await run_ops("doctor", "--json", "--no-login", **settings)
    found = {one["where"]: one for one in json.loads(out)["findings"] if one["code"] == "report.fails"}
    assert (code, set(found)) == (1, {f"report {name}" for name in empty.reports})
    assert {one["severity"] for one in found.values()} == {"wrong"}
    assert "MOMENTUS_REPORTS__SHIPPED=off" in found["report blockers"]["remedy"]
    code, out, _ = await run_ops("reports", "check", **settings)
    assert code == 1
    assert "create it, or name the right database in MOMENTUS_POSTGRES_DSN" in out


async def test_what_compose_yaml_starts_on_its_empty_database_works_and_nothing_is_wrong(
    database: str, valkey_url: str, smtp_sink: MailSink
) -> None:
    services = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]
    here = {
        "MOMENTUS_REDIS_URL": valkey_url,
        "MOMENTUS_POSTGRES_DSN": database,
        "MOMENTUS_MAIL__PORT": str(smtp_sink.port),
        "MOMENTUS_METRICS__WORKER": "0",
    }
    settings = services["worker"]["environment"] | here
    worker = Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment=settings,
        ready=worker_ready(valkey_url),
        restart=RestartPolicy.NEVER,
    )
    asked = {name.removeprefix("MOMENTUS_"): value for name, value in settings.items()}
    async with Supervisor([worker]):
        assert (await run_ops("depth", **asked))[0] == 0
        assert (await run_ops("reports", "status", **asked))[0] == 0
        found = json.loads((await run_ops("doctor", "--json", "--no-login", **asked))[1])["findings"]
        assert not [one for one in found if one["severity"] == "wrong" and one["where"].startswith("report")]
        assert "set MOMENTUS_REPORTS__PATH" in str(found)


async def test_compose_yaml_with_reports_of_an_application_that_has_made_no_tables_yet_fails_nowhere(
    database: str, valkey_url: str, smtp_sink: MailSink, tmp_path: Path
) -> None:
    services = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]
    reports = sales_worker(valkey_url, database, tmp_path)  # writes the report's files
    here = {
        "MOMENTUS_REDIS_URL": valkey_url,
        "MOMENTUS_POSTGRES_DSN": database,
        "MOMENTUS_MAIL__PORT": str(smtp_sink.port),
        "MOMENTUS_METRICS__WORKER": "0",
        "MOMENTUS_REPORTS__PATH": str(tmp_path),
    }
    settings = services["worker"]["environment"] | here
    asked = {name.removeprefix("MOMENTUS_"): value for name, value in settings.items()}
    lines: list[str] = []
    worker = replace(reports, environment=settings)
    async with Supervisor([worker], log=lambda _name, line: lines.append(line)):
        await eventually(lambda: any("board.waits" in line for line in lines))
        assert (await run_ops("depth", **asked))[0] == 0
        code, out, _ = await run_ops("reports", "status", **asked)
        assert (code, "waits for its tables, none of which exists: shop.nodes, shop.orders" in out) == (0, True)
        found = json.loads((await run_ops("doctor", "--json", "--no-login", **asked))[1])["findings"]
        of_reports = {one["code"]: one["severity"] for one in found if one["where"].startswith("report ")}
        assert of_reports == {"report.waits": "warning"}
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert [one["tables"] for one in told if one["event_name"] == "board.waits"] == [["shop.nodes", "shop.orders"]]
    assert not [one for one in told if one["level"] in {"warning", "error"}]


async def test_commands_fail_no_more_when_reports_are_computed_again(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        await it.refresher.store.declare_reports(it.refresher.reports)
        await it.database.execute("ALTER TABLE shop.orders RENAME TO gone")
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert (await run_ops("depth", REDIS_URL=valkey_url))[0] == 1
        await it.database.execute("ALTER TABLE shop.gone RENAME TO orders")
        past = datetime.now(UTC) - timedelta(seconds=1)
        await it.refresher.store.record_failure("sales", at=past, error="x", failure=FailureStreak(1, past))
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert (await run_ops("depth", REDIS_URL=valkey_url))[0] == 0


async def test_a_budget_that_keeps_a_report_from_its_readers_is_said_before_and_after(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    (tmp_path / "trees").mkdir()
    (tmp_path / "dear.sql").write_text(DEAR)
    (tmp_path / "trees" / "shops.sql").write_text("SELECT id, parent_id, name, kind FROM shop.nodes")
    dear = load_reports(tmp_path, shipped="off")["dear"]
    settings = {
        "REDIS_URL": valkey_url,
        "POSTGRES_DSN": database,
        "REPORTS__PATH": str(tmp_path),
        "REPORTS__SHIPPED": "off",
    }
    async with shop(database, valkey_url, dear) as it:
        await it.order(5)
        code, out, _ = await run_ops("reports", "check", **settings)
        assert code == 1
        assert "and readers get 503 after 0:01:00; make the query cheaper (--plan)" in out
        await refresh_board(it.refresher, it.refresher.boards["dear"])
        code, out, _ = await run_ops("reports", "status", **settings)
        assert (code, "dear: its budget" in out) == (0, False), "it is proved true as long as nothing happens"
        await it.order(7)
        code, out, _ = await run_ops("reports", "status", **settings)
        assert (code, "dear: its budget delays the next refresh until" in out) == (1, True)
        assert "readers get 503 from" in out


async def test_a_report_that_rests_after_a_failure_is_not_said_to_wait_for_its_budget(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    (tmp_path / "trees").mkdir()
    (tmp_path / "dear.sql").write_text(DEAR)
    (tmp_path / "trees" / "shops.sql").write_text("SELECT id, parent_id, name, kind FROM shop.nodes")
    dear = load_reports(tmp_path, shipped="off")["dear"]
    settings = {
        "REDIS_URL": valkey_url,
        "POSTGRES_DSN": database,
        "REPORTS__PATH": str(tmp_path),
        "REPORTS__SHIPPED": "off",
    }
    async with shop(database, valkey_url, dear) as it:
        await refresh_board(it.refresher, it.refresher.boards["dear"])
        await it.order(7)
        now = datetime.now(UTC)
        failure = FailureStreak(9, now + timedelta(minutes=5))
        await it.refresher.store.record_failure("dear", at=now, error="InvalidRows: x", failure=failure)
        code, out, _ = await run_ops("reports", "status", **settings)
    assert (code, "budget" in out) == (1, False)
    assert "dear: it waits after its failure until" in out


def test_a_log_has_the_servers_words_only_where_they_hold_no_data() -> None:
    assert log_fields(asyncpg.UndefinedTableError('relation "a.b" does not exist'))["reason"]
    assert log_fields(asyncpg.InvalidTextRepresentationError('invalid input syntax: "Ada"')) == {
        "error": "InvalidTextRepresentationError"
    }
    assert log_fields(ValueError("Ada")) == {"error": "ValueError"}
    raised = asyncpg.InsufficientPrivilegeError("not for Ada")
    raised.context = "PL/pgSQL function shop.refuse() line 2 at RAISE"
    assert log_fields(raised) == {"error": "InsufficientPrivilegeError"}
