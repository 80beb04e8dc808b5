"""Mails that a producer staged, until the mail server has them: each once, whatever Redis had heard of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from jobs import Mail
from producers import Producer
from producers.keys import LaneKeys
from tests.delivering import delivering
from tests.faulty_proxy import FaultyProxy
from tests.ledgers import ledger_of
from tests.provider import Provider
from tests.support import eventually
from worker.ledger.links import GroupLinks
from worker.ledger.marks import LedgerMarks
from worker.ledger.relay import Relay
from worker.ledger.service import run_ledger
from worker.ledger.tables_postgres import LedgerTables

MAIL = Mail(to="ana@example.com", subject="Cierre", text="Buenos días")
OTHER = Mail(to="eva@example.com", subject="Cierre", text="Buenos días")
QUEUE = LaneKeys("mail.normal").queue


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with ledger_of(database) as connection:
        yield connection


@asynccontextmanager
async def a_worker(dsn: str, url: str) -> AsyncIterator[Provider]:
    """A worker with its relay; the mail server that it sends to."""
    async with (
        Provider() as provider,
        run_ledger(dsn, url) as service,
        delivering(url, provider, ledger_marks=service.marks),
    ):
        yield provider


def ended(ledger: asyncpg.Connection, job_id: str) -> Callable[[], Awaitable[str | None]]:
    """A question for how a job ended."""

    async def state() -> str | None:
        found = await ledger.fetchval("SELECT state FROM momentus_ledger.ends WHERE id = $1", job_id)
        return None if found is None else str(found)

    return state


async def test_mails_of_committed_transactions_are_sent_once_and_no_others(
    database: str, ledger: asyncpg.Connection, valkey_url: str, producer: Producer
) -> None:
    async with a_worker(database, valkey_url) as provider:
        transaction = ledger.transaction()
        await transaction.start()
        await producer.send(OTHER, level="ledger", connection=ledger)
        await transaction.rollback()
        async with ledger.transaction():
            first = await producer.send(MAIL, key="task:42", level="ledger", connection=ledger)
            second = await producer.send(MAIL, key="task:42", level="ledger", connection=ledger)
        assert await eventually(ended(ledger, first.id), timeout=30) == "done"
        assert await eventually(ended(ledger, second.id), timeout=30) == "duplicate"
    assert dict(provider.recipients) == {"ana@example.com": 1}


async def queued_and_staged(ledger: asyncpg.Connection, redis: Redis, url: str) -> str:
    """A mail that Redis took although its reply never came, so that there is a row as well; its id."""
    async with FaultyProxy(urlsplit(url).port or 0) as proxy:
        through = urlsplit(url)._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()
        async with Producer.connect(through, budget=2) as producer:
            await producer.send(OTHER)
            proxy.swallow("to_client")
            receipt = await producer.send(MAIL, level="fallback", connection=ledger)
    assert receipt.state == "staged"
    assert await redis.zscore(QUEUE, receipt.id) is not None
    return receipt.id


async def test_a_mail_that_is_queued_and_staged_is_sent_once(
    database: str, ledger: asyncpg.Connection, valkey_url: str, redis: Redis
) -> None:
    job_id = await queued_and_staged(ledger, redis, valkey_url)
    async with a_worker(database, valkey_url) as provider:
        assert await eventually(ended(ledger, job_id), timeout=30) == "done"
    assert dict(provider.recipients) == {"ana@example.com": 1, "eva@example.com": 1}


async def test_a_mail_that_is_queued_and_staged_has_its_mark_in_both_stores(
    database: str, ledger: asyncpg.Connection, valkey_url: str, redis: Redis
) -> None:
    job_id = await queued_and_staged(ledger, redis, valkey_url)
    tables, links = LedgerTables(database), GroupLinks(valkey_url)
    await Relay(tables, links).move_batch()
    await links.close()
    async with Provider() as provider, delivering(valkey_url, provider, ledger_marks=LedgerMarks(tables)):
        await eventually(lambda: provider.recipients["ana@example.com"])
    await tables.close()
    assert await ledger.fetchval("SELECT array_agg(id) FROM momentus_ledger.effects") == [job_id]


async def test_a_mail_whose_row_is_handed_over_after_it_was_sent_is_not_sent_again(
    database: str, ledger: asyncpg.Connection, valkey_url: str, redis: Redis
) -> None:
    job_id = await queued_and_staged(ledger, redis, valkey_url)

    async def nothing_waits() -> bool:
        return await redis.zcard(QUEUE) == 0

    async with Provider() as provider, delivering(valkey_url, provider):
        await eventually(nothing_waits)
        async with run_ledger(database, valkey_url):
            assert await eventually(ended(ledger, job_id), timeout=30) == "done"
        assert await nothing_waits()
    assert dict(provider.recipients) == {"ana@example.com": 1, "eva@example.com": 1}
