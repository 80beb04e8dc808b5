"""A database with none of the shipped reports' tables: a worker process computes its owner's reports alone."""

import argparse
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.installation import worker_ready
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.command import Tools
from ops.reports.status import read_statuses
from producers.keys import catalogue
from reports.keys import prober, snapshot
from tests.support import eventually

SHOPS = """
CREATE SCHEMA retail;
CREATE TABLE retail.shops (id bigint PRIMARY KEY, parent_id bigint, name text, kind text);
CREATE TABLE retail.orders (id bigint GENERATED ALWAYS AS IDENTITY, shop_id bigint, opened_at timestamptz);
INSERT INTO retail.shops VALUES (1, NULL, 'All', 'country'), (2, 1, 'Norte', 'region');
INSERT INTO retail.orders (shop_id, opened_at) VALUES (1, now()), (2, now()), (2, now());
"""
ORDERS = """-- +++
-- name = "orders"
-- scope = "shop_id"
-- tree = "shops"
-- every = "1m"
--
-- [freshness]
-- soft = "30s"
-- hard = "5m"
-- debounce = "0s"
--
-- [rollup]
-- orders = "sum"
-- +++
SELECT shop_id, count(*) AS orders FROM retail.orders WHERE opened_at <= :now GROUP BY shop_id
"""


@pytest.fixture
async def shops(database: str) -> str:
    connection = await asyncpg.connect(database)
    await connection.execute(SHOPS)
    await connection.close()
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "shops.sql").write_text("SELECT id, parent_id, name, kind FROM retail.shops\n")
    (tmp_path / "orders.sql").write_text(ORDERS)
    return tmp_path


def worker(url: str, dsn: str, more: Mapping[str, str]) -> Process:
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_POSTGRES_DSN": dsn,
            **more,
        },
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


async def test_a_worker_without_the_shipped_reports_computes_those_of_a_folder_and_declares_no_other(
    shops: str, valkey_url: str, folder: Path
) -> None:
    chosen = {"MOMENTUS_REPORTS__PATH": str(folder), "MOMENTUS_REPORTS__SHIPPED": "off"}
    async with Redis.from_url(valkey_url) as redis, Supervisor([worker(valkey_url, shops, chosen)]):
        body: Any = await eventually(lambda: redis.hget(snapshot("default", "orders"), "1"))
        assert orjson.loads(body)["data"]["total"] == {"orders": 3}
        assert await redis.hkeys(catalogue("default")) == [b"orders"]
        assert [key async for key in redis.scan_iter("momentus:{reports}:snapshot:*")] == [
            snapshot("default", "orders").encode()
        ]
        tools = Tools(
            redis=redis, redis_url=valkey_url, postgres_dsn=shops, reports_path=folder, reports_shipped="off"
        )
        told = (await read_statuses(tools, argparse.Namespace())).facts["reports"]
        assert [one["report"] for one in told] == ["orders"]


async def test_a_worker_without_any_report_works_and_is_there_to_withdraw_what_none_declares(
    shops: str, valkey_url: str
) -> None:
    """It holds the prober's lease; what a prober withdraws after a minute is in test_declarations.py."""
    without = worker(valkey_url, shops, {"MOMENTUS_REPORTS__SHIPPED": "off"})
    async with Redis.from_url(valkey_url) as redis, Supervisor([without]):

        async def is_prober() -> bool:
            return bool(await redis.exists(prober("default")))

        await eventually(is_prober)
