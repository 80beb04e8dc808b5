"""The failure matrix: what is promised for each fault, on real processes, with sets of mails as the verdict.

`docs/ledger.md` has all rows and names the tests that keep them. Here are those that need a backend, workers, a
mail server and both stores at once (tests/failure_scene.py); the others are with what they are about.
"""

import json
import re
import resource
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from jobs import NamedJob
from local.embedded.binaries import find_valkey
from local.supervisor.process import Process
from local.supervisor.supervisor import Supervisor
from producers import Producer, Receipt
from producers.keys import LaneKeys
from tests.boards import shop
from tests.failure_scene import KEYS, PATIENCE, FailureScene, Verdict, failing
from tests.faulty_proxy import FaultyProxy
from tests.own_postgres import crash, own_postgres
from tests.own_worker import FOLDER
from tests.reader_process import Client, Reply, reader_process
from tests.ready_cluster import postgres_from_copy
from tests.report_worker import SALES_OF_NODES, sales_worker
from tests.support import OwnValkey, ask_valkey, eventually, scratch_directory
from tests.topologies import Sentinels, sentinels

OwnServer = Callable[..., Awaitable[OwnValkey]]
ROOT = Path(__file__).parents[2]


# Workers that are killed


@pytest.mark.long
async def test_a_job_for_which_the_kernel_kills_its_worker_is_dead_alone(
    valkey_url: str, redis: Redis, producer: Producer, database: str, tmp_path: Path
) -> None:
    """F3: what runs beside it whenever it takes its worker down is carried out all the same, and mails arrive."""
    heavy: dict[str, Any] = {"WORKER__JOBS": "shop.heavy", "WORKER__JOBS_FOLDER": str(FOLDER)}
    keys = LaneKeys("jobs")
    beside = [await producer.send(NamedJob("light.compute", {"seconds": 0.8})) for _ in range(4)]
    guilty = await producer.send(NamedJob("heavy.compute", {"seconds": 0.4}))
    async with failing(tmp_path, database, valkey_url, **heavy) as it:
        await eventually(lambda: redis.zscore(keys.dead, guilty.id), timeout=PATIENCE)
        assert b"crash_loop" in (await redis.lrange(keys.history(guilty.id), 0, -1))[-1]
        for receipt in beside:
            await eventually(lambda receipt=receipt: is_done(producer, receipt), timeout=PATIENCE)
        assert await it.verdict() == Verdict()


async def is_done(producer: Producer, receipt: Receipt) -> bool:
    return (await producer.result(receipt.id)).state == "done"


# Redis takes no writes


@asynccontextmanager
async def without_room(valkey: OwnValkey) -> AsyncIterator[None]:
    """No file of the server can grow, as on a full disk."""
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(valkey.pid, resource.RLIMIT_FSIZE, (1, unlimited))
    try:
        async with Redis.from_url(valkey.url) as redis:
            await eventually(lambda: refuses_writes(redis), timeout=PATIENCE)
        yield
    finally:
        resource.prlimit(valkey.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


async def refuses_writes(redis: Redis) -> bool:
    try:
        await redis.set("probe", "x")
    except RedisError as error:
        return str(error).startswith("MISCONF")
    return False


def ignoring_limits(folder: Path) -> Path:
    """The server's program, which a file that may not grow does not end: it sees an error, as of a full disk."""
    program = folder / "valkey"
    program.write_text(f"""#!/bin/sh\ntrap '' XFSZ\nexec '{find_valkey()}' "$@"\n""", "utf-8")
    program.chmod(stat.S_IRWXU)
    return program


@pytest.mark.parametrize("level", ["fallback", pytest.param("ledger", marks=pytest.mark.long)])
async def test_a_redis_whose_disk_is_full_refuses_no_mail(
    own_valkey: OwnServer, database: str, tmp_path: Path, level: str
) -> None:
    """F26: mails become rows while Redis cannot write its file, and arrive when it can."""
    valkey = await own_valkey(binary=ignoring_limits(tmp_path))
    async with failing(tmp_path, database, valkey.url, level=level) as it:
        await it.delivers(20)
        async with without_room(valkey):
            await it.accepts(50)
        assert await it.verdict() == Verdict()


@pytest.mark.parametrize("level", ["ledger", pytest.param("fallback", marks=pytest.mark.long)])
async def test_a_redis_at_its_memory_limit_refuses_no_mail_and_is_drained(
    own_valkey: OwnServer, database: str, tmp_path: Path, level: str
) -> None:
    """F11: mails become rows while Redis is full; workers empty it meanwhile, and the rows follow."""
    valkey = await own_valkey("--maxmemory", "12mb")
    async with (
        failing(tmp_path, database, valkey.url, level=level) as it,
        Redis.from_url(valkey.url) as redis,
    ):
        await it.delivers(20)
        await fill_memory(redis)
        await it.accepts(50)
        await eventually(lambda: is_drained(redis), timeout=PATIENCE)
        assert await it.rows("SELECT FROM momentus_ledger.pending")
        await redis.config_set("maxmemory", 0)
        assert await it.verdict() == Verdict()


async def fill_memory(redis: Redis) -> None:
    for size in (64 * 1024, 1024, 1):
        for number in range(20_000):
            try:
                await redis.set(f"filler:{size}:{number}", b"x" * size)
            except OutOfMemoryError:
                break


async def is_drained(redis: Redis) -> bool:
    return await redis.zcard(KEYS.queue) == 0


# Servers that end and come back


@pytest.mark.long
async def test_a_redis_that_is_restarted_in_order_again_and_again_loses_no_mail(
    own_valkey: OwnServer, database: str, tmp_path: Path
) -> None:
    """F4: at level `redis`. The worker that began goes on; it is not restarted."""
    valkey = await own_valkey()
    async with failing(tmp_path, database, valkey.url, level="redis") as it:
        await it.delivers(20)
        worker = it.processes.pid("worker")
        for _ in range(5):
            await valkey.stop()
            await valkey.start()
            await it.delivers(20)
        assert await it.verdict() == Verdict()
        assert it.processes.pid("worker") == worker


@pytest.mark.long
async def test_stores_that_are_killed_in_turn_and_together_lose_no_mail_of_the_ledger(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    """F14, F15: backend and worker live through all of it."""
    valkey = await own_valkey()
    async with own_postgres([]) as (dsn,), failing(tmp_path, dsn, valkey.url) as it:
        await it.delivers(20)
        pids = [it.processes.pid(name) for name in ("backend", "worker")]
        for _ in range(2):
            await valkey.restart()
            await it.delivers(20)
            await crash(dsn)
            await it.delivers(20)
            await valkey.kill()
            await crash(dsn)
            await valkey.start()
            await it.delivers(20)
        assert [it.processes.pid(name) for name in ("backend", "worker")] == pids
        assert await it.verdict() == Verdict()


# Stores that say nothing


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("level", ["fallback", "ledger"])
async def test_a_redis_of_which_no_reply_comes_any_more_loses_no_mail(
    own_valkey: OwnServer, database: str, tmp_path: Path, level: str
) -> None:
    """F12: a half-open link takes what backend and worker ask for, and their jobs run at the other worker.

    First both find their connections deaf, then all replies are lost, then the server stands still for everybody.
    """
    valkey = await own_valkey()
    async with (
        FaultyProxy(valkey.port) as way,
        failing(tmp_path, database, valkey.url, level=level, apart=f"redis://127.0.0.1:{way.port}/0") as it,
    ):
        await it.delivers(50)
        way.forget()
        await it.accepts(50)
        await it.delivers(50)
        way.swallow("to_client")
        await it.accepts(50)
        await it.delivers(50)
        way.let_pass()
        way.cut()
        await it.delivers(50)
        valkey.pause()
        await it.accepts(50)
        valkey.resume()
        assert await it.verdict() == Verdict()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_while_postgres_is_down_reports_are_served_with_their_age_and_follow_when_it_is_back(
    valkey_url: str, tmp_path: Path
) -> None:
    """F13: worker and reader live through it; each answer is the last good report, and says how old it is."""
    with scratch_directory() as scratch:
        server = postgres_from_copy(scratch / "server")
        processes = [server.process("postgres"), _brisk_worker(valkey_url, server.dsn, tmp_path)]
        async with (
            Supervisor(processes[:1], scratch=scratch) as database,
            Supervisor(processes[1:]) as workers,
            reader_process(valkey_url, tmp_path / "reader.log", READER__ACCESS="open") as port,
            Client(port) as client,
        ):
            async with shop(server.dsn, valkey_url) as it:
                await it.install()
                await it.order(5)
                await eventually(lambda: _shows(client, 5, "fresh"), timeout=PATIENCE, every=0.05)
            worker = workers.pid("worker")
            await database.stop("postgres")
            down = await eventually(lambda: _shows(client, 5, "stale"), timeout=PATIENCE, every=0.05)
            older = await eventually(lambda: _shows(client, 5, "stale"), timeout=PATIENCE, every=0.05)
            assert older.as_of == down.as_of, "nothing was computed meanwhile"
            await database.start("postgres")
            async with shop(server.dsn, valkey_url) as it:
                await it.order(70)
                await eventually(lambda: _shows(client, 75, "fresh"), timeout=PATIENCE, every=0.05)
            assert workers.pid("worker") == worker


def _brisk_worker(url: str, dsn: str, folder: Path) -> Process:
    """A worker whose report is stale a second after its database has gone."""
    report = SALES_OF_NODES.replace('every = "1m"', 'every = "1s"').replace('soft = "90s"', 'soft = "2s"')
    return sales_worker(url, dsn, folder, report=report)


async def _shows(client: Client, total: int, freshness: str) -> Reply | None:
    """The answer for the root, if it says so."""
    reply = await client.get_served("/v1/reports/sales/1")
    if reply.status != HTTPStatus.OK or reply.headers["freshness"] != freshness:
        return None
    return reply if json.loads(reply.body)["data"]["total"]["amount"] == total else None


# Another Redis takes the place of the first


@pytest.mark.long
async def test_a_failover_by_sentinels_loses_no_mail_of_the_ledger(database: str, tmp_path: Path) -> None:
    """F9: the primary is killed under load; what it took and its replica has not is handed over again."""
    async with sentinels() as three, failing(tmp_path, database, three.url) as it:
        await it.delivers(50)
        await leave_behind(three)
        await it.accepts(20)
        await three.kill("first")
        await eventually(lambda: three.took_over("second"), timeout=PATIENCE)
        await it.accepts(50)
        assert await it.verdict() == Verdict()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_primary_apart_from_the_sentinels_loses_no_mail_of_the_ledger(
    database: str, tmp_path: Path
) -> None:
    """F10: a backend and a worker stay with the old primary, whose data is gone when it is found again.

    What only that had is found by the other worker when it is a replica, long before the next search in turn.
    """
    async with apart(database, tmp_path) as (three, it):
        await it.delivers(50)
        await part(three)
        await it.delivers(100)
        await it.processes.stop("apart")
        await join(three)
        assert await it.verdict() == Verdict()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_primary_apart_from_its_replica_confirms_no_mail_and_sends_none(
    database: str, tmp_path: Path
) -> None:
    """F10: with `confirm_replicas` no mail of level `redis` is lost, nor sent by two workers."""
    confirming: dict[str, Any] = {"level": "redis", "replicas": 1, "WORKER__CONFIRM_REPLICAS": "1"}
    async with apart(database, tmp_path, **confirming) as (three, it):
        await it.delivers(50)
        await part(three)
        await join(three)
        assert await it.verdict() == Verdict()


async def leave_behind(three: Sentinels) -> None:
    """Part the second node from the first. The sentinels join them again, after 8 s at the earliest."""
    async with Redis(port=three.nodes["second"]) as replica:
        await replica.replicaof("127.0.0.1", "1")


@asynccontextmanager
async def apart(dsn: str, folder: Path, **options: Any) -> AsyncIterator[tuple[Sentinels, FailureScene]]:
    """One worker that asks the sentinels, and a backend and a worker that keep to the first node."""
    async with sentinels(behind_proxy=True) as three:
        first = f"redis://127.0.0.1:{three.nodes['first']}/0"
        async with failing(folder, dsn, three.url, apart=first, **options) as it:
            yield three, it


async def part(three: Sentinels) -> None:
    """Part the first node from the second and the sentinels until the second has its place."""
    assert three.proxy
    await three.proxy.refuse()
    await eventually(lambda: three.took_over("second"), timeout=PATIENCE)


async def join(three: Sentinels) -> None:
    """Let the sentinels find the first node again and have it follow the second."""
    assert three.proxy
    await three.proxy.accept()
    await eventually(lambda: ask_valkey(three.nodes["first"], "ROLE") == b"*5", timeout=PATIENCE)


# The table


def test_the_table_of_the_matrix_names_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    rows = re.findall(r"^\| (F\d+) \|.*\| ([^|]+) \|$", page, re.MULTILINE)
    assert [row for row, _ in rows] == [*(f"F{number}" for number in range(1, 16)), "F26", "F27"]
    for row, places in rows:
        for file, name in re.findall(r"`(\w+\.py)::(\w+)`", places):
            (found,) = (ROOT / "tests").rglob(file)
            assert f"def test_{name}(" in found.read_text("utf-8"), f"{row}: {file} has no test_{name}"
        assert "::" in places, f"{row} names no test"
