"""Ours at level ``ledger``, by asyncpg: a worker with all that it does for the ledger."""

import asyncio
import logging
import signal

import asyncpg
import structlog
from redis.asyncio import Redis

from bench.ledger_peers.contract import MAIL, SLOTS, WRITERS, Took, begin_job, rerun, tell, timed, write_together
from jobs import Mail
from ledger.schema import install
from producers import Producer
from producers.keys import LaneKeys
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.ledger.service import run_ledger

_LANE = "mail.normal"
_KEYS = LaneKeys(_LANE)
_ENDED = "SELECT count(*) FROM momentus_ledger.ends"
_LOOK_SECONDS = 0.02


def _mail() -> Mail:
    return Mail(to=MAIL["to"], subject=MAIL["subject"], text=MAIL["text"])


async def _connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(dsn)


async def _installed(dsn: str, url: str) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await _connect(dsn)
    await install(connection)
    async with Redis.from_url(url) as redis:
        await redis.flushall()
    return connection


async def _enqueue_many(connection: "asyncpg.Connection[asyncpg.Record]", producer: Producer, count: int) -> None:
    async with connection.transaction():
        await producer.send_many([_mail() for _ in range(count)], level="ledger", connection=connection)


async def _writers(dsn: str, url: str, count: int) -> Took:
    await _installed(dsn, url)
    async with Producer.connect(url) as producer:

        async def enqueue(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            await producer.send(_mail(), level="ledger", connection=connection)

        return await write_together(enqueue, [await _connect(dsn) for _ in range(WRITERS)], count)


async def _bulk(dsn: str, url: str, count: int) -> Took:
    connection = await _installed(dsn, url)
    async with Producer.connect(url) as producer:
        return await timed(_enqueue_many(connection, producer, count))


async def _jobs(dsn: str, url: str, count: int) -> Took:
    connection = await _installed(dsn, url)
    async with Producer.connect(url) as producer:
        await _enqueue_many(connection, producer, count)

    async def take(_context: dict[str, object], **_mail: object) -> None:
        """Do nothing."""

    worker = Worker([handler(take, kind="mail.send")], redis_url=url, lanes=[LaneSlots(_LANE, SLOTS)])

    async def stop() -> None:
        async with Redis.from_url(url) as redis:
            while await redis.hlen(_KEYS.ended) or await connection.fetchval(_ENDED) < count:  # noqa: ASYNC110  the event is in the servers
                await asyncio.sleep(_LOOK_SECONDS)
        worker.handle_sig(signal.SIGTERM)

    async def run() -> None:
        async with run_ledger(dsn, url):
            await asyncio.gather(worker.async_run(), stop())

    took = await timed(run())
    await worker.close()
    return took


async def _killed(dsn: str, url: str, count: int) -> Took:
    connection = await _installed(dsn, url)
    async with Producer.connect(url) as producer:
        return await rerun(dsn, url, lambda number: _enqueue_many(connection, producer, number), count)


async def _work(dsn: str, url: str, *, hangs: bool) -> Took:
    async def take(_context: dict[str, object], **_mail: object) -> None:
        await begin_job(hangs=hangs)

    worker = Worker([handler(take, kind="mail.send")], redis_url=url, lanes=[LaneSlots(_LANE, SLOTS)])
    async with run_ledger(dsn, url):
        return await timed(worker.async_run())


async def _hang(dsn: str, url: str, _count: int) -> Took:
    return await _work(dsn, url, hangs=True)


async def _take(dsn: str, url: str, _count: int) -> Took:
    return await _work(dsn, url, hangs=False)


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
tell({"writers": _writers, "bulk": _bulk, "jobs": _jobs, "killed": _killed, "hang": _hang, "take": _take})
