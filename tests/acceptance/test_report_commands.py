"""What operators are told of reports is what a refresh would do, on real servers."""

import argparse
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from ops.command import CommandRefused, Tools
from ops.reports.advise import advise_report
from ops.reports.preview import preview_document
from ops.reports.status import read_statuses
from producers.keys import catalogue
from reports import load_reports
from reports.keys import snapshot, wanted
from reports.source_postgres import Source
from reports.store import ReportStore
from worker.reports.refresh import refresh_report
from worker.reports.refresh_context import RefreshContext

TENANT = "commands"
SIZE = OrganisationSize(nodes=30, depth=4, employees=60, memberships=5, tasks=90, checkins=900, blockers=120)
WALK = """
WITH RECURSIVE below AS (
    SELECT id FROM organisation.nodes WHERE id = :node
    UNION ALL SELECT child.id FROM organisation.nodes AS child JOIN below ON child.parent_id = below.id
)
SELECT count(*) FROM organisation.blockers WHERE node_id IN (SELECT id FROM below) AND opened_at <= :now
"""


@pytest.fixture
async def tools(database: str, valkey_url: str) -> AsyncIterator[Tools]:
    """An organisation whose reports have been computed once."""
    connection = await asyncpg.connect(database)
    await install_schema(connection)
    await load_rows(connection, generate_organisation(SIZE, seed=3, now=datetime.now(UTC)))
    await connection.close()
    source = Source(database, statement_timeout=timedelta(seconds=30))
    async with Redis.from_url(valkey_url) as redis:
        store = ReportStore(redis, tenant=TENANT)
        refresher = RefreshContext(TENANT, load_reports(), source, store, ZoneInfo("UTC"))
        await store.declare_reports(refresher.reports)
        await refresh_report({"refresher": refresher}, TENANT, "management")
        await source.close()
        yield Tools(redis=redis, redis_url=valkey_url, tenant=TENANT, postgres_dsn=database)


def asked(name: str = "blockers", **more: object) -> argparse.Namespace:
    usual = {
        "scope": "1",
        "diff": False,
        "walk": None,
        "views": 10.0,
        "nodes_per_view": None,
        "sample": 9,
        "seconds": 9.0,
    }
    return argparse.Namespace(**{"name": name, **usual, **more})


async def test_a_preview_is_what_is_stored_and_tells_what_has_changed_since(tools: Tools) -> None:
    stored = orjson.loads(await tools.redis.hget(snapshot(TENANT, "blockers"), "1"))
    assert (await preview_document(tools, asked())).facts["data"] == stored["data"]
    assert "no differences" in (await preview_document(tools, asked(diff=True))).text
    connection = await asyncpg.connect(tools.postgres_dsn)
    await connection.execute(
        "INSERT INTO organisation.blockers SELECT 100000, 1, NULL, NULL, now() - interval '1 s', NULL, 'incident'"
    )
    await connection.close()
    before, answer = stored["data"]["total"]["active"], await preview_document(tools, asked(diff=True))
    assert answer.facts["differences"]["total.active"] == {"stored": before, "now": before + 1}
    assert f"total.active: {before} -> {before + 1}" in answer.text


async def test_a_preview_of_what_is_not_there_is_refused_with_what_there_is(tools: Tools) -> None:
    with pytest.raises(CommandRefused, match="there are activity, blockers, management, workload"):
        await preview_document(tools, asked("blocker"))
    with pytest.raises(CommandRefused, match="node 999 does not exist"):
        await preview_document(tools, asked(scope="999"))
    with pytest.raises(CommandRefused, match="MOMENTUS_POSTGRES_DSN"):
        await preview_document(Tools(redis=tools.redis, redis_url=""), asked())


async def test_the_status_tells_how_each_report_fares_and_when_it_is_due(tools: Tools) -> None:
    await tools.redis.set(wanted(TENANT, "workload"), 1)
    answer = await read_statuses(tools, asked())
    fares = {one["report"]: one for one in answer.facts["reports"]}
    assert {name: one["state"] for name, one in fares.items()} == {
        "activity": "never",
        "blockers": "fresh",
        "management": "fresh",
        "workload": "fresh",
    }
    assert [name for name, one in fares.items() if one["wanted"]] == ["workload"]
    assert (fares["activity"]["why"], fares["activity"]["generation"]) == ("cold", None)
    assert fares["management"]["generation"] == 1
    assert fares["management"]["cost_p95_ms"] > 0
    assert fares["management"]["due"] > fares["management"]["as_of"]
    assert fares["management"]["marked"] is False
    assert "cold" in answer.text


async def test_without_a_database_the_status_says_what_it_cannot_know(tools: Tools) -> None:
    answer = await read_statuses(Tools(redis=tools.redis, redis_url="", tenant=TENANT), asked())
    assert "the waiting changes are unknown" in answer.text
    assert {one["due"] for one in answer.facts["reports"]} == {None}


async def test_the_advice_is_measured_on_the_database_itself(tools: Tools, tmp_path: Path) -> None:
    walk = tmp_path / "walk.sql"
    walk.write_text(WALK)
    answer = await advise_report(tools, asked(walk=walk))
    assert answer.facts["advice"]["do"] == "fix"
    assert answer.facts["measured"]["statements"] == 30
    assert answer.facts["measured"]["read_ms"] > 0
    assert answer.facts["walk"]["sampled"] == 9
    assert "(9 of 30 measured)" in answer.text
    assert "not measured" in (await advise_report(tools, asked())).text
    for text, words in ((WALK.replace(":node", "1"), "has no :node"), ("SELECT :node::int +", "syntax error")):
        walk.write_text(text)
        with pytest.raises(CommandRefused, match=words):
            await advise_report(tools, asked(walk=walk))
    with pytest.raises(CommandRefused, match="cannot be read"):
        await advise_report(tools, asked(walk=tmp_path / "gone.sql"))


async def test_readers_are_told_the_schema_of_each_report(tools: Tools) -> None:
    entry = orjson.loads(await tools.redis.hget(catalogue(TENANT), "workload"))
    total = entry["schema"]["properties"]["total"]["properties"]
    assert total["oldest_at"] == {"type": ["string", "null"], "format": "date-time"}
    assert total["tasks"] == {"type": "integer"}
