"""The doctor on a ledger with a fault, and on the same one afterwards; real servers, relay and recorder."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from redis.asyncio import Redis

from tests.acceptance.test_ledger_relay import KEYS, Ledger, done, serving, working
from tests.doctoring import cause, depth_code, findings
from tests.ledgers import ledger_of
from tests.support import OwnValkey, eventually
from worker.ledger.service import run_ledger

LONG_AGO = "UPDATE momentus_ledger.jobs SET staged_at = staged_at - interval '2 min'"


@pytest.fixture
async def ledger(database: str, valkey_url: str, redis: Redis) -> AsyncIterator[Ledger]:
    async with ledger_of(database) as connection, serving(database, valkey_url, connection, redis) as made:
        yield made


async def says(code: str, severity: str | None, url: str, dsn: str) -> bool:
    """Whether the doctor says so; None: nothing of the kind."""
    return (await findings(REDIS_URL=url, POSTGRES_DSN=dsn)).get(code) == severity


async def test_staged_jobs_that_no_relay_takes_are_wrong_after_a_minute_and_right_with_one(
    ledger: Ledger, database: str, valkey_url: str
) -> None:
    await ledger.stage()
    assert await says("ledger.pending", None, valkey_url, database)
    await ledger.connection.execute(LONG_AGO)
    assert await says("ledger.pending", "wrong", valkey_url, database)
    told = await cause("ledger.pending", REDIS_URL=valkey_url, POSTGRES_DSN=database)
    assert "1 staged jobs wait" in told
    assert "MOMENTUS_LEDGER__RELAY=on" in told
    await ledger.relay.move_batch()
    assert await says("ledger.pending", None, valkey_url, database)


async def test_ends_that_no_recorder_writes_are_wrong_after_a_minute_for_depth_too_and_right_with_one(
    ledger: Ledger, database: str, valkey_url: str
) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    async with working(valkey_url, done):
        await eventually(lambda: ledger.redis.hexists(KEYS.ended, job_id))
    assert await says("ledger.unrecorded", None, valkey_url, database)
    end = (await ledger.redis.hget(KEYS.ended, job_id) or b"").decode()
    at = end.partition('"at_ms":')[2].partition(",")[0].rstrip("}")
    await ledger.redis.hset(KEYS.ended, job_id, end.replace(at, str(int(at) - 120_000)))
    assert await says("ledger.unrecorded", "wrong", valkey_url, database)
    assert "the oldest for 2 min" in await cause("ledger.unrecorded", REDIS_URL=valkey_url)
    assert await depth_code(REDIS_URL=valkey_url) == 1
    assert await ledger.recorder.record_all() == 1
    assert await says("ledger.unrecorded", None, valkey_url, database)
    assert await depth_code(REDIS_URL=valkey_url) == 0


async def test_rows_that_were_set_aside_are_told_for_two_days(
    ledger: Ledger, database: str, valkey_url: str
) -> None:
    assert await says("ledger.quarantined", None, valkey_url, database)
    await ledger.stage()
    await ledger.connection.execute("UPDATE momentus_ledger.jobs SET payload = 'no envelope'")
    await ledger.relay.move_batch()
    assert await says("ledger.quarantined", "warning", valkey_url, database)
    await ledger.connection.execute("UPDATE momentus_ledger.ends SET day = day - 2")
    assert await says("ledger.quarantined", None, valkey_url, database)


async def test_a_ledger_of_another_build_and_one_without_days_are_wrong(
    ledger: Ledger, database: str, valkey_url: str
) -> None:
    await ledger.connection.execute("UPDATE momentus_ledger.version SET number = number + 1")
    assert await says("ledger.unusable", "wrong", valkey_url, database)
    await ledger.connection.execute("UPDATE momentus_ledger.version SET number = number - 1")
    found = await findings(REDIS_URL=valkey_url, POSTGRES_DSN=database)
    assert not {"ledger.unusable", "ledger.no_days"} & found.keys()
    days = await ledger.connection.fetch(
        "SELECT relname FROM pg_class WHERE relname ~ '^(jobs|effects|ends)_[0-9]' AND relkind = 'r'"
    )
    for day in days:
        await ledger.connection.execute(f"DROP TABLE momentus_ledger.{day['relname']}")
    assert await says("ledger.no_days", "wrong", valkey_url, database)
    await ledger.connection.execute("SELECT momentus_ledger.make_partitions()")
    assert await says("ledger.no_days", None, valkey_url, database)


async def test_a_database_without_a_ledger_has_no_finding_about_one(database: str, valkey_url: str) -> None:
    found = await findings(REDIS_URL=valkey_url, POSTGRES_DSN=database)
    assert not [code for code in found if code.startswith("ledger.")]


async def test_a_part_of_a_worker_that_reaches_no_ledger_is_told_until_it_does(
    database: str, valkey_url: str, postgres_dsn: str, ledger: Ledger
) -> None:
    name = database.rpartition("/")[2]
    admin = await asyncpg.connect(postgres_dsn)
    try:
        async with working(valkey_url, done), run_ledger(database, valkey_url):
            await ledger.stage()
            await eventually(lambda: says("workers.none", None, valkey_url, database), every=0.1)
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

            async def stands() -> bool:
                return (await findings(REDIS_URL=valkey_url)).get("worker.ledger_stands") == "warning"

            await eventually(stands, every=0.25)
            assert "its ledger re" in await cause("worker.ledger_stands", REDIS_URL=valkey_url)
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

            async def works() -> bool:
                return "worker.ledger_stands" not in await findings(REDIS_URL=valkey_url)

            await eventually(works, every=0.25)
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


async def test_a_key_that_another_application_wrote_is_named_until_it_is_removed(
    valkey_url: str, redis: Redis
) -> None:
    await redis.set(KEYS.queue, "mine")
    assert await says("redis.wrong_key", "wrong", valkey_url, "")
    assert KEYS.queue in await cause("redis.wrong_key", REDIS_URL=valkey_url)
    await redis.delete(KEYS.queue)
    assert await says("redis.wrong_key", None, valkey_url, "")


async def test_a_replica_is_wrong_until_it_is_a_primary(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    primary, replica = await own_valkey(), await own_valkey()
    async with Redis.from_url(replica.url) as client:
        await client.replicaof("127.0.0.1", str(primary.port))
        await eventually(lambda: says("redis.replica", "wrong", replica.url, ""))
        await client.replicaof("NO", "ONE")
        assert await says("redis.replica", None, replica.url, "")
