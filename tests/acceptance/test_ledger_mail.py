"""A mail that SQL stages in a transaction of the application is sent like a producer's, and the record says so."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
from redis.asyncio import Redis

from ledger.records import read_record
from ops.doctor.role_postgres import gather_role
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.counts import counts
from tests.delivering import delivering
from tests.ledgers import ledger_of
from tests.provider import Provider
from tests.support import eventually
from worker.ledger.links import GroupLinks
from worker.ledger.marks import LedgerMarks
from worker.ledger.recorder import EndRecorder
from worker.ledger.relay import Relay
from worker.ledger.service import run_ledger
from worker.ledger.tables_postgres import LedgerTables

STAGE = "SELECT momentus_ledger.stage_mail($1, 'Cierre «30»', 'Buenos días', '<p>Buenos días</p>', key => $2)"


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with ledger_of(database) as connection:
        yield connection


async def state(ledger: asyncpg.Connection, job_id: str) -> str | None:
    """How a job ended; nothing while it has not."""
    found = await ledger.fetchval("SELECT state FROM momentus_ledger.ends WHERE id = $1", job_id)
    return None if found is None else str(found)


async def test_a_mail_staged_by_sql_is_sent_once_and_recorded_with_the_servers_reply(
    database: str, ledger: asyncpg.Connection, valkey_url: str
) -> None:
    async with (
        Provider() as provider,
        run_ledger(database, valkey_url) as service,
        delivering(valkey_url, provider, ledger_marks=service.marks),
    ):
        async with ledger.transaction():
            first = await ledger.fetchval(STAGE, "ana@example.com", "task:42")
            second = await ledger.fetchval(STAGE, "ana@example.com", "task:42")
        assert await eventually(lambda: state(ledger, first), timeout=30) == "done"
        assert await eventually(lambda: state(ledger, second), timeout=30) == "duplicate"
        assert await eventually(lambda: _agree(database, valkey_url), timeout=30)
    assert (provider.accepted, provider.recipients["ana@example.com"]) == (1, 1)
    found = await read_record(ledger, first)
    assert found is not None
    record, effects = found
    assert (record.account, record.attempt, record.uncertain) == ("main", 1, False)
    assert record.reply == "2.0.0 queued as 1"
    assert [one.attempt for one in effects] == [1]
    _, out, _ = await run_ops("ledger", "show", second, POSTGRES_DSN=database)
    assert first in out


async def _agree(dsn: str, url: str) -> bool:
    _, out, _ = await run_ops("ledger", "check", "--json", POSTGRES_DSN=dsn, REDIS_URL=url)
    facts = json.loads(out)
    assert facts["disagreements"] == []
    return (facts["jobs"], facts["ended"], facts["pending"], facts["live"], facts["unrecorded"]) == (2, 2, 0, 0, 0)


@pytest.mark.usefixtures("ledger")
async def test_the_doctor_does_not_warn_of_the_rights_that_the_ledger_gives_a_worker(database: str) -> None:
    facts = await gather_role(database)
    assert facts is not None
    assert facts.writes is None


async def test_a_mail_that_has_ended_leaves_unsent_though_redis_went_back_to_before_its_end(
    database: str, ledger: asyncpg.Connection, valkey_url: str, redis: Redis
) -> None:
    tables, links = LedgerTables(database), GroupLinks(valkey_url)
    job_id = await ledger.fetchval(STAGE, "ana@example.com", None)
    await Relay(tables, links).move_batch()
    await ledger.execute("INSERT INTO momentus_ledger.ends SELECT day, id, 'done' FROM momentus_ledger.jobs")
    async with Provider() as provider, delivering(valkey_url, provider, ledger_marks=LedgerMarks(tables)):
        await eventually(counts(redis, "mail.normal", "suppressed"))
    await EndRecorder(tables, links).record_all()
    assert provider.accepted == 0
    assert await state(ledger, job_id) == "done"
    await links.close()
    await tables.close()


async def test_a_mail_that_may_have_been_delivered_before_redis_went_back_is_counted_and_sent_again(
    database: str, ledger: asyncpg.Connection, valkey_url: str, redis: Redis
) -> None:
    tables, links = LedgerTables(database), GroupLinks(valkey_url)
    job_id = await ledger.fetchval(STAGE, "ana@example.com", None)
    await Relay(tables, links).move_batch()
    await ledger.execute("INSERT INTO momentus_ledger.effects SELECT day, id, 1, 'main' FROM momentus_ledger.jobs")
    async with Provider() as provider, delivering(valkey_url, provider, ledger_marks=LedgerMarks(tables)):
        await eventually(counts(redis, "mail.normal", "uncertain"))
        await redis.zadd(LaneKeys("mail.normal").queue, {job_id: 1})  # its wait is over
        await redis.lpush(LaneKeys("mail.normal").wake, "1")
        await eventually(counts(redis, "mail.normal", "done"))
    assert provider.accepted == 1
    await links.close()
    await tables.close()
