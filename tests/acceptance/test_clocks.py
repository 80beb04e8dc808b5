"""Clocks that are apart, or set while everything runs: ages stay true, and nothing is called fresh by mistake.

The processes are the real ones; tests/moved_clocks.py says how their clocks are moved.
"""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis

from local.installation import worker_ready
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from reports.keys import snapshot
from tests.boards import ORDER, SCHEMA
from tests.moved_clocks import RedisClock, move_database, moved
from tests.reader_process import REPORT, Client, LastingReaders, Reply, document, meta, reader_process
from tests.support import eventually

TREE = "SELECT id, parent_id, name, kind FROM shop.nodes\n"
SALES = """-- +++
-- name = "sales"
-- scope = "node_id"
-- tree = "nodes"
-- every = "2s"
--
-- [freshness]
-- soft = "1500ms"
-- hard = "{hard}"
-- debounce = "0s"
--
-- [rollup]
-- amount = "sum"
-- +++
SELECT node_id, sum(amount) AS amount FROM shop.orders WHERE at <= :now GROUP BY node_id
"""
SALES_PATH, GENERAL_PATH = "/v1/reports/sales/1", "/v1/reports/general/1"
HOUR = 3600


@dataclass
class House:
    """A worker and a reader between a database and a Redis."""

    database: Any
    redis: Any
    client: Client
    running: Supervisor
    events: list[str]

    async def get(self) -> Reply:
        return await self.client.get_served(SALES_PATH)

    async def answer(self, status: int) -> Reply:
        """The first answer with this status."""

        async def found() -> Reply | None:
            reply = await self.get()
            return reply if reply.status == status else None

        reply: Reply = await eventually(found, timeout=30, every=0.1)
        return reply

    async def total(self) -> Any:
        body = await self.redis.hget(snapshot("default", "sales"), "1")
        return body and orjson.loads(body)["data"]["total"]["amount"]


@asynccontextmanager
async def house(dsn: str, url: str, folder: Path, *, ahead: float, hard: str = "4s") -> AsyncIterator[House]:
    """With the database's clock so many seconds ahead."""
    connection = await asyncpg.connect(dsn)
    await move_database(connection, ahead)
    await connection.execute(SCHEMA)
    (folder / "trees").mkdir()
    (folder / "trees/nodes.sql").write_text(TREE)
    (folder / "sales.sql").write_text(SALES.format(hard=hard))
    settings = {"REDIS_URL": url, "POSTGRES_DSN": dsn, "REPORTS__PATH": str(folder), "REPORTS__SHIPPED": "off"}
    settings |= {"MAIL__HOST": "127.0.0.1", "MAIL__TLS": "off", "WORKER__GRACE": "0s", "LOG_FORMAT": "json"}
    worker = Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={f"MOMENTUS_{name}": value for name, value in settings.items()},
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )
    events: list[str] = []
    async with (
        Redis.from_url(url) as redis,
        Supervisor([worker], log=lambda _name, line: events.append(line)) as running,
        reader_process(url, folder / "reader.log", READER__ACCESS="open") as port,
        Client(port) as client,
    ):
        yield House(connection, redis, client, running, events)
    await connection.close()


@pytest.mark.parametrize("ahead", [600, pytest.param(-600, marks=pytest.mark.long)], ids=["ahead", "behind"])
async def test_with_the_database_ten_minutes_off_ages_are_true_and_nothing_is_called_fresh(
    database: str, valkey_url: str, tmp_path: Path, ahead: int
) -> None:
    async with house(database, valkey_url, tmp_path, ahead=ahead) as it:
        reply = await it.answer(200)
        assert int(reply.headers["age"]) <= 4
        assert reply.headers["freshness"] == "stale"
        assert reply.headers["cache-status"].endswith("; detail=clocks-apart")
        assert reply.headers["cache-control"].startswith("private, max-age=0")
        told = (await it.client.get_served("/readyz")).body.decode()
        assert f"the database's clock is {ahead:+}.0 s from Redis's" in told
        counted = (await it.client.get("/metrics")).body.decode()
        assert 'momentus_reader_clock_doubts_total{clock="database"}' in counted
        assert await eventually(lambda: [line for line in it.events if '"clocks.apart"' in line])
        it.running.send_signal("worker", signal.SIGKILL)
        refused = await it.answer(503)
        assert refused.problem == "too-stale"
        assert 4 <= orjson.loads(refused.body)["age"] < 30


async def test_when_the_database_s_clock_is_set_back_what_is_written_then_is_shown_all_the_same(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with house(database, valkey_url, tmp_path, ahead=0, hard="1h") as it:
        before = await it.answer(200)
        await move_database(it.database, -HOUR)
        await it.database.execute(ORDER, 2, 7, datetime(2026, 1, 1, tzinfo=UTC))
        await eventually(lambda: is_seven(it), timeout=30)
        after = await it.get()
        assert after.status == 200
        assert int(after.headers["age"]) <= 4
        assert int(after.headers["report-gen"]) > int(before.headers["report-gen"])
        assert before.as_of - after.as_of > HOUR - 60, "the database says so"
        assert [line for line in it.events if '"clock.set"' in line]


async def is_seven(it: House) -> bool:
    return bool(await it.total() == 7)


@asynccontextmanager
async def stored(url: str, **times: Any) -> AsyncIterator[Any]:
    """A report of one node as a worker has stored it; then nobody works."""
    async with Redis.from_url(url) as redis:
        await redis.hset(REPORT, mapping={**document(1, [1], b'{"n": 1}'), **meta(**times)})
        yield redis


async def test_a_reader_an_hour_behind_refuses_what_is_past_its_hard_limit(
    valkey_url: str, tmp_path: Path
) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text(str(-HOUR))
    python = moved("reader", ahead)
    async with (
        stored(valkey_url, age_s=60, soft_s=10, hard_s=20) as redis,
        reader_process(valkey_url, tmp_path / "log", python=python, READER__ACCESS="open") as port,
        Client(port) as client,
    ):
        reply = await client.get_served(GENERAL_PATH)
        assert (reply.status, reply.problem) == (503, "too-stale")
        await redis.hset(REPORT, mapping=meta(age_s=3, soft_s=10, hard_s=20))
        reply = await client.get_served(GENERAL_PATH)
        assert (reply.status, reply.headers["freshness"]) == (200, "stale")
        assert 3 <= int(reply.headers["age"]) < 20
        assert (
            "this machine's clock is -3600.0 s from Redis's" in (await client.get_served("/readyz")).body.decode()
        )


@pytest.mark.parametrize("by", [-HOUR, pytest.param(HOUR, marks=pytest.mark.long)])
async def test_a_step_of_the_reader_s_own_clock_changes_no_age(valkey_url: str, tmp_path: Path, by: int) -> None:
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    python = moved("reader", ahead)
    async with (
        stored(valkey_url, age_s=1, soft_s=600, hard_s=900),
        reader_process(valkey_url, tmp_path / "log", python=python, READER__ACCESS="open") as port,
        Client(port) as client,
    ):
        assert (await client.get_served(GENERAL_PATH)).headers["freshness"] == "fresh"
        for step, wanted in ((5, "fresh"), (by, "stale")):
            ahead.write_text(str(step))
            reply = await eventually(lambda: labelled(client, wanted))  # noqa: B023  awaited here
            assert int(reply.headers["age"]) < 100


async def labelled(client: Client, wanted: str) -> Reply | None:
    reply = await client.get_served(GENERAL_PATH)
    return reply if reply.headers.get("freshness") == wanted else None


async def test_after_a_failover_to_a_redis_whose_clock_is_behind_nothing_unproved_is_called_fresh(
    valkey_url: str, tmp_path: Path
) -> None:
    """Less than the bound: no offset betrays it, and yet all ages are too small by it."""
    behind = 3
    async with (
        RedisClock(urlsplit(valkey_url).port or 0) as way,
        stored(valkey_url, soft_s=600, hard_s=900) as redis,
        reader_process(f"redis://127.0.0.1:{way.port}", tmp_path / "log", READER__ACCESS="open") as port,
        Client(port) as client,
    ):
        assert await eventually(lambda: labelled(client, "fresh"))
        way.ahead = -behind
        way.cut()
        reply = await eventually(lambda: labelled(client, "stale"))
        assert reply.headers["cache-status"].endswith("; detail=clocks-apart")

        async def is_fresh_once_proved() -> bool:
            """A worker proves it each second, and measures the new Redis."""
            proved = meta(soft_s=600, hard_s=900, clock_offset_us=behind * 1_000_000)
            await redis.hset(REPORT, mapping=proved)
            return (await client.get_served(GENERAL_PATH)).headers.get("freshness") == "fresh"

        await eventually(is_fresh_once_proved, every=0.1)


@pytest.mark.parametrize(
    ("ahead_s", "offset_us", "label"),
    [
        (20, None, "fresh"),
        (40, None, "stale"),
        (40, 0, "stale"),
        (29, 29_000_000, "fresh"),
        (-29, -29_000_000, "fresh"),
        (31, 31_000_000, "stale"),
        (-31, -31_000_000, "stale"),
    ],
)
async def test_a_report_of_the_future_or_with_clocks_too_far_apart_is_not_fresh(
    valkey_url: str, lasting_readers: LastingReaders, ahead_s: int, offset_us: int | None, label: str
) -> None:
    """Without an offset: as the builds before stored it."""
    noted = {} if offset_us is None else {"clock_offset_us": offset_us}
    async with (
        stored(valkey_url, age_s=-ahead_s, soft_s=600, hard_s=900, **noted),
        Client(await lasting_readers.port(valkey_url, READER__ACCESS="open")) as client,
    ):
        reply = await client.get_served(GENERAL_PATH)
        assert (reply.status, reply.headers["freshness"]) == (200, label)
        assert 0 <= int(reply.headers["age"]) < 20
