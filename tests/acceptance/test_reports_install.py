"""`ops reports install` and `uninstall`: what is printed is what is run, and nothing is left behind."""

import argparse
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from local.organisation.postgres import install_schema as install_organisation
from ops.command import CommandRefused, Tools
from ops.reports.install_postgres import install_triggers, uninstall_triggers
from ops.reports.proofs_postgres import WORDS

SOURCE = "organisation.checkins"


def tools(dsn: str = "", tenant: str = "default", folder: Path | None = None) -> Tools:
    url = "redis://127.0.0.1:0"
    return Tools(redis=Redis.from_url(url), redis_url=url, tenant=tenant, postgres_dsn=dsn, reports_path=folder)


SALES = """-- +++
-- name = "sales"
-- scope = "id"
-- tree = "shops"
-- every = "10s"
-- sources = ["public.sales", "public.seen"]
--
-- [freshness]
-- soft = "30s"
-- hard = "1m"
-- debounce = "0s"
--
-- [rollup]
-- v = "sum"
-- +++
SELECT id, sum(v) AS v FROM seen GROUP BY id
"""


def asked(*, dry_run: bool = False) -> argparse.Namespace:
    return argparse.Namespace(dry_run=dry_run, role="")


async def test_what_a_dry_run_prints_installs_the_same_and_uninstalling_leaves_nothing(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await install_organisation(connection)
        script = (await install_triggers(tools(database), asked(dry_run=True))).facts["script"]
        assert await connection.fetchval("SELECT to_regnamespace('momentus')") is None
        await connection.execute(script)
        triggers = await connection.fetch(
            "SELECT tgrelid, tgargs FROM pg_trigger WHERE tgname = 'momentus_default'"
        )
        assert SOURCE in (await install_triggers(tools(database), asked())).facts["sources"]
        again = await connection.fetch("SELECT tgrelid, tgargs FROM pg_trigger WHERE tgname = 'momentus_default'")
        assert again == triggers
        await uninstall_triggers(tools(database), asked())
        assert await connection.fetchval("SELECT to_regnamespace('momentus')") is None
        assert await connection.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'momentus%'") == 0
        await uninstall_triggers(tools(database), asked())
    finally:
        await connection.close()


async def test_install_names_the_tables_that_have_a_trigger_partitions_as_well_and_no_views(
    database: str, tmp_path: Path
) -> None:
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "shops.sql").write_text("SELECT 1 AS id, NULL AS parent_id, 'a' AS name, 'a' AS kind")
    (tmp_path / "sales.sql").write_text(SALES)
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(
            "CREATE TABLE sales (id bigint, v bigint) PARTITION BY LIST (id);"
            "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES IN (1);"
            "CREATE VIEW seen AS SELECT * FROM sales"
        )
    finally:
        await connection.close()
    done = await install_triggers(replace(tools(database), reports_path=tmp_path, reports_shipped="off"), asked())
    assert done.facts["tables"] == ["public.sales", "public.sales_1"]
    assert done.text.splitlines()[:4] == [
        "triggers on 2 tables mark what changes",
        "  public.sales",
        "  public.sales_1",
        "board sales: "
        + WORDS["snapshot"]
        + " (public.seen is a view, whose rows change with other tables; name those)",
    ]


async def test_a_source_that_is_no_table_is_refused_and_nothing_is_changed(database: str) -> None:
    with pytest.raises(CommandRefused, match="nothing was changed"):
        await install_triggers(tools(database), asked())
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT to_regnamespace('momentus')") is None
    finally:
        await connection.close()


async def test_without_a_database_there_is_only_the_script() -> None:
    assert "CREATE TRIGGER" in (await install_triggers(tools(), asked(dry_run=True))).text
    with pytest.raises(CommandRefused, match="MOMENTUS_POSTGRES_DSN"):
        await install_triggers(tools(), asked())
