"""The doctor on reports with a fault, and on the same ones once it is mended: real Postgres, real refreshes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.supervisor.supervisor import Supervisor
from ops.doctor import checks_workers
from reports.keys import SINCE, snapshot
from reports.triggers import uninstall_script
from tests.boards import SCHEMA, Shop, shop
from tests.command_line import run_ops
from tests.doctoring import cause, depth_code, findings
from tests.report_worker import sales_worker, shows
from tests.support import eventually
from worker.reports.audit import Auditor, audit_report
from worker.reports.refresh import refresh_board

LATER_US = 31_000_000


@asynccontextmanager
async def declared(database: str, url: str, folder: Path) -> AsyncIterator[tuple[Shop, dict[str, str]]]:
    """The shop with its report declared, the file of it, and the settings of an operator."""
    process = sales_worker(url, database, folder)  # writes the report's files
    settings = {name.removeprefix("MOMENTUS_"): value for name, value in process.environment.items()}
    async with shop(database, url) as it:
        await it.refresher.store.declare_reports(it.refresher.reports)
        yield it, settings


async def refreshed(it: Shop) -> None:
    await it.rest_ends() if await it.field("_error") else None
    await refresh_board(it.refresher, it.refresher.boards["shop"])


async def exit_codes(settings: dict[str, str]) -> tuple[int, int]:
    """Those of `depth` and of `reports status`."""
    return await depth_code(**settings), (await run_ops("reports", "status", **settings))[0]


async def test_a_report_that_is_never_computed_is_wrong_after_half_a_minute(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        assert (await findings(**settings))["report.never"] == "warning"
        since = int(await it.redis.hget(snapshot("default", "sales"), SINCE) or 0)
        await it.redis.hset(snapshot("default", "sales"), SINCE, str(since - LATER_US))
        assert (await findings(**settings))["report.never"] == "wrong"
        assert await exit_codes(settings) == (1, 1)
        await refreshed(it)
        assert "report.never" not in await findings(**settings)
        assert await exit_codes(settings) == (0, 0)


async def test_a_report_that_fails_is_wrong_until_it_is_computed_again(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        await it.database.execute("ALTER TABLE shop.orders RENAME TO gone")
        await refreshed(it)
        assert (await findings(**settings))["report.fails"] == "wrong"
        assert await exit_codes(settings) == (1, 1)
        await it.database.execute("ALTER TABLE shop.gone RENAME TO orders")
        await refreshed(it)
        assert "report.fails" not in await findings(**settings)
        assert await exit_codes(settings) == (0, 0)


async def test_a_stale_report_is_wrong_until_it_is_proved_or_computed_again(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        await refreshed(it)
        meta = dict(await it.meta())
        older = {name: meta[name] - 1000 * meta["soft_ms"] - 1 for name in ("verified_us", "as_of_us")}
        await it.redis.hset(snapshot("default", "sales"), "_meta", orjson.dumps(meta | older).decode())
        assert (await findings(**settings))["report.stale"] == "wrong"
        assert await exit_codes(settings) == (1, 1)
        assert "sales: is stale" in (await run_ops("reports", "status", **settings))[1]
        await refreshed(it)
        assert "report.stale" not in await findings(**settings)
        assert await exit_codes(settings) == (0, 0)


async def test_empty_tables_are_told_and_an_empty_tree_is_wrong_until_it_has_a_node(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        await it.database.execute("DELETE FROM shop.nodes")
        await refreshed(it)
        found = await findings(**settings)
        assert (found["report.fails"], found["source.empty"]) == ("wrong", "warning")
        assert "the query returned no rows" in await cause("report.fails", **settings)
        assert "fill or fix the table of its tree" in await cause("report.fails", **settings)
        assert await exit_codes(settings) == (1, 1)
        await it.database.execute("INSERT INTO shop.nodes VALUES (1, NULL, 'all', 'shop'), (2, 1, 'n', 'shop')")
        await refreshed(it)
        found = await findings(**settings)
        assert ("report.fails" in found, found["source.empty"]) == (False, "warning")
        assert "show zeros: sales" in await cause("source.empty", **settings)
        assert await exit_codes(settings) == (0, 0)
        await it.order(5)
        assert "source.empty" not in await findings(**settings)


async def test_a_measure_that_an_audit_finds_different_is_told_with_its_node_for_a_day(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        await it.order(5)
        await refreshed(it)
        assert "report.mismatch" not in await findings(**settings)
        document = await it.field("1")
        document["data"]["total"]["amount"] += 1
        await it.redis.hset(snapshot("default", "sales"), "1", orjson.dumps(document).decode())
        found = await audit_report(Auditor(it.refresher, it.redis), it.refresher.reports["sales"])
        assert found.wrong
        assert (await findings(**settings))["report.mismatch"] == "wrong"
        assert "1 amount" in await cause("report.mismatch", **settings)
        assert await exit_codes(settings) == (1, 1)


async def test_triggers_that_are_missing_or_disabled_are_wrong_and_none_at_all_is_a_choice(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        await refreshed(it)
        assert (await findings(**settings))["reports.unwatched"] == "warning"
        await it.install()
        assert (
            not {"reports.unwatched", "triggers.missing", "triggers.former"} & (await findings(**settings)).keys()
        )
        await it.database.execute("ALTER TABLE shop.orders DISABLE TRIGGER USER")
        assert (await findings(**settings))["triggers.former"] == "wrong"
        assert "shop.orders" in await cause("triggers.former", **settings)
        await it.database.execute(
            "ALTER TABLE shop.orders RENAME TO former; CREATE TABLE shop.orders (LIKE shop.former)"
        )
        found = await findings(**settings)
        assert (found["triggers.missing"], "triggers.former" in found) == ("wrong", False)
        await it.install()
        assert "triggers.missing" not in await findings(**settings)
        await it.database.execute(uninstall_script("default"))
        found = await findings(**settings)
        assert ("triggers.missing" in found, found["reports.unwatched"]) == (False, "warning")


async def test_marks_that_no_refresh_takes_up_pile_up_and_are_gone_with_one(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with declared(database, valkey_url, tmp_path) as (it, settings):
        await it.install()
        await refreshed(it)
        await it.order(5)
        assert "marks.pile_up" not in await findings(**settings)
        await it.database.execute("UPDATE momentus.dirty SET at = at - interval '10 min'")
        assert (await findings(**settings))["marks.pile_up"] == "wrong"
        assert "the oldest for 10 min" in await cause("marks.pile_up", **settings)
        await it.database.execute(
            "INSERT INTO momentus.dirty (board, source, at) "
            "VALUES ('default:left', 'shop.orders', now() - interval '10 min')"
        )
        assert (await findings(**settings))["marks.unclaimed"] == "warning"
        await refreshed(it)
        assert "marks.pile_up" not in await findings(**settings)


async def test_on_a_fresh_database_reports_wait_for_their_tables_and_are_computed_when_these_exist(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    process = sales_worker(valkey_url, database, tmp_path)
    settings = {name.removeprefix("MOMENTUS_"): value for name, value in process.environment.items()}
    key = snapshot("default", "sales")
    lines: list[str] = []
    watched = Supervisor([process], log=lambda _name, line: lines.append(line))
    async with Redis.from_url(valkey_url) as redis, watched:

        async def waits() -> bool:
            return (await findings(**settings)).get("report.waits") == "warning"

        await eventually(waits, every=0.1)
        assert "shop.nodes, shop.orders" in await cause("report.waits", **settings)
        assert await exit_codes(settings) == (0, 0)
        assert " waiting " in (await run_ops("depth", **settings))[1]
        assert await redis.hget(key, "_error") is None
        connection = await asyncpg.connect(database)
        await connection.execute(SCHEMA)

        async def computed() -> bool:
            return await redis.hget(key, "_meta") is not None

        await eventually(computed)
        assert "report.waits" not in await findings(**settings)
        await connection.close()
    names = [orjson.loads(line)["event_name"] for line in lines if line.startswith("{")]
    assert names.count("board.waits") == 1
    assert not {"report.failed", "job.retry", "prober.failed"} & set(names)


async def test_reports_that_have_waited_for_an_hour_are_wrong(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    process = sales_worker(valkey_url, database, tmp_path)
    settings = {name.removeprefix("MOMENTUS_"): value for name, value in process.environment.items()}
    async with Redis.from_url(valkey_url) as redis, Supervisor([process]):

        async def since() -> int:
            return int(await redis.hget(snapshot("default", "sales"), SINCE) or 0)

        await redis.hset(snapshot("default", "sales"), SINCE, str(await eventually(since) - 3_600_000_000))

        async def is_wrong() -> bool:
            return (await findings(**settings)).get("report.waits") == "wrong"

        await eventually(is_wrong, every=0.1)
        assert await exit_codes(settings) == (1, 1)


async def test_a_worker_without_its_database_is_told_and_is_well_again_with_it(
    database: str, postgres_dsn: str, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quarter of a minute after which it is wrong is held by tests/unit/test_doctor_judges.py."""
    monkeypatch.setattr(checks_workers, "_LASTS", timedelta(seconds=1))
    name = database.rpartition("/")[2]
    asking = {"REDIS_URL": valkey_url}
    admin = await asyncpg.connect(postgres_dsn)
    try:
        async with Supervisor([sales_worker(valkey_url, database, tmp_path)]):
            async with shop(database, valkey_url) as it:
                await eventually(lambda: shows(it, 0))
                assert "worker.no_database" not in await findings(**asking)
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

            async def stands(severity: str | None) -> bool:
                return (await findings(**asking)).get("worker.no_database") == severity

            await eventually(lambda: stands("wrong"), timeout=60, every=0.25)
            assert await depth_code(**asking) == 1
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await eventually(lambda: stands(None), timeout=60, every=0.25)
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()
