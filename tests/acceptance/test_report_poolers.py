"""Reports through a pooler in transaction mode: noticed without a setting, by everybody who connects."""

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import asyncpg
import pytest
from redis.asyncio import Redis

from local.installation import worker_ready
from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema as install_organisation, load_rows
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.command import Tools
from ops.doctor.postgres import gather_postgres
from ops.reports.check import check_reports
from ops.reports.install_postgres import install_triggers
from ops.reports.preview import preview_document
from ops.reports.status import read_statuses
from reports import load_reports
from reports.connection_postgres import connect
from reports.keys import snapshot
from sessions.epochs_postgres import DurableEpochs
from tests.boards import report, shop
from tests.pooler import PGBOUNCER, disguised, pooler
from tests.support import eventually
from worker.reports.refresh import refresh_board

Form = Callable[[str], AbstractAsyncContextManager[str]]
FORMS = [
    pytest.param(disguised, id="stand-in"),
    pytest.param(pooler, id="pgbouncer", marks=pytest.mark.skipif(PGBOUNCER is None, reason="no PgBouncer here")),
]
TYPES = "CREATE TYPE shop.mood AS ENUM ('glad', 'sad'); CREATE TYPE shop.pair AS (mood shop.mood, at date)"
TYPED = (
    "SELECT node_id, sum(amount) AS amount, array_agg(('glad', '2026-01-01')::shop.pair) AS pairs FROM shop.orders"
)
ORGANISATION = OrganisationSize(nodes=5, depth=2, employees=9, memberships=1, tasks=9, checkins=9, blockers=9)


async def test_a_server_is_asked_by_prepared_statements_and_a_pooler_without(database: str) -> None:
    count = "SELECT count(*) FROM pg_prepared_statements"
    async with disguised(database) as through:
        for dsn, prepared in ((database, 2), (through, 0)):
            connection = await connect(dsn, application="momentus-test")
            await connection.fetchval("SELECT 1")
            assert await connection.fetchval(count) == prepared
            await connection.close()


@pytest.mark.parametrize("form", FORMS)
async def test_a_board_is_refreshed_marked_and_proved_through_a_pooler(
    database: str, valkey_url: str, form: Form
) -> None:
    typed = report(sql=f"{TYPED} WHERE at <= $1 GROUP BY node_id")
    async with form(database) as through, shop(database, valkey_url, typed) as owner:
        await owner.database.execute(TYPES)
        await owner.install()
        other = await asyncpg.connect(through, statement_cache_size=0)
        async with shop(through, valkey_url, typed) as it:
            for amount in (5, 7):
                await owner.order(amount)
                outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
                assert (outcome.failed, outcome.marks) == ({}, 1)
                await eventually(it.proved)
                await other.execute("BEGIN; SELECT 1")  # the pooler's latest connection is another's from now on
            assert await it.total() == 12
        await other.close()


@pytest.mark.parametrize("form", FORMS)
async def test_operators_are_answered_through_a_pooler(database: str, valkey_url: str, form: Form) -> None:
    connection = await asyncpg.connect(database)
    await install_organisation(connection)
    await load_rows(connection, generate_organisation(ORGANISATION, seed=3, now=datetime.now(UTC)))
    await connection.close()
    async with form(database) as through, Redis.from_url(valkey_url) as redis:
        tools = Tools(redis=redis, redis_url=valkey_url, postgres_dsn=through)
        for _ in range(2):
            other = await asyncpg.connect(through, statement_cache_size=0)
            await other.execute("BEGIN; SELECT 1")
            assert (await install_triggers(tools, asked())).facts["sources"]
            assert (await check_reports(tools, asked())).facts["findings"] == []
            assert (await read_statuses(tools, asked())).facts["note"] == ""
            assert (await preview_document(tools, asked())).facts["scope"] == 1
            assert (await gather_postgres(through)).fault == ""
            await other.close()


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
async def test_workers_behind_a_pooler_compute_all_reports_at_their_first_try(
    database: str, valkey_url: str, form: Form
) -> None:
    connection = await asyncpg.connect(database)
    await install_organisation(connection)
    await load_rows(connection, generate_organisation(ORGANISATION, seed=3, now=datetime.now(UTC)))
    await connection.close()
    async with form(database) as through, Redis.from_url(valkey_url) as redis:
        workers = [
            Process(
                name=name,
                argv=[sys.executable, "-m", "worker"],
                environment={"MOMENTUS_REDIS_URL": valkey_url, "MOMENTUS_POSTGRES_DSN": through},
                ready=worker_ready(valkey_url),
                restart=RestartPolicy.NEVER,
            )
            for name in ("one", "two")
        ]
        async with Supervisor(workers):
            keys = [snapshot("default", name) for name in load_reports()]

            async def stored() -> bool:
                return all([await redis.hexists(key, "_meta") for key in keys])

            await eventually(stored, timeout=30)
            await redis.delete(*keys)
            await eventually(stored, timeout=30)
            assert [await redis.hget(key, "_error") for key in keys] == [None] * 4


@pytest.mark.parametrize("form", FORMS)
async def test_a_backends_pool_may_lead_through_a_pooler_for_the_epochs(database: str, form: Form) -> None:
    async with form(database) as through, asyncpg.create_pool(through, min_size=2, max_size=2) as pool:
        epochs = DurableEpochs(pool)
        await epochs.install()
        assert [await epochs.begin("u-17") for _ in range(4)] == [1, 2, 3, 4]
        await epochs.end("u-17", 9)
        assert await epochs.all() == [("u-17", 9)]


def asked() -> argparse.Namespace:
    return argparse.Namespace(
        dry_run=False, role="", path=None, pin=False, plan=False, name="blockers", scope="1", diff=False
    )
