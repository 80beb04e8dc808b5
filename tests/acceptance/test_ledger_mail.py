"""A mail that SQL stages in a transaction of the application is sent like a producer's, and the record says so."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.records import read_record
from ops.doctor.role_postgres import gather_role
from tests.command_line import run_ops
from tests.delivering import delivering
from tests.ledgers import ledger_of
from tests.provider import Provider
from tests.support import eventually
from worker.ledger.service import run_ledger

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
