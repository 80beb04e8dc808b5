"""PgQueuer by asyncpg, with its defaults; but its worker takes batches of 100, by default they are of 10."""

import json

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from bench.ledger_peers.contract import (
    MAIL,
    SLOTS,
    WRITERS,
    Took,
    begin_job,
    in_parts,
    rerun,
    tell,
    timed,
    write_together,
)

_PAYLOAD = json.dumps(MAIL).encode()


async def _connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(dsn)


async def _install(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await _connect(dsn)
    await Queries(AsyncpgDriver(connection)).install()
    return connection


async def _enqueue(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await Queries(AsyncpgDriver(connection)).enqueue("job", _PAYLOAD)


async def _enqueue_many(connection: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    async with connection.transaction():
        for part in in_parts(count):
            await Queries(AsyncpgDriver(connection)).enqueue(["job"] * part, [_PAYLOAD] * part, [0] * part)


async def _writers(dsn: str, _url: str, count: int) -> Took:
    await _install(dsn)
    return await write_together(_enqueue, [await _connect(dsn) for _ in range(WRITERS)], count)


async def _bulk(dsn: str, _url: str, count: int) -> Took:
    return await timed(_enqueue_many(await _install(dsn), count))


async def _jobs(dsn: str, _url: str, count: int) -> Took:
    connection = await _install(dsn)
    await _enqueue_many(connection, count)
    queue = PgQueuer(AsyncpgDriver(connection))

    @queue.entrypoint("job")  # type: ignore[untyped-decorator]  # its types are in its environment
    async def _take(_job: Job) -> None:
        """Do nothing."""

    return await timed(queue.run(mode=QueueExecutionMode.drain, batch_size=SLOTS))


async def _killed(dsn: str, url: str, count: int) -> Took:
    connection = await _install(dsn)
    return await rerun(dsn, url, lambda number: _enqueue_many(connection, number), count)


async def _work(dsn: str, *, hangs: bool) -> Took:
    queue = PgQueuer(AsyncpgDriver(await _connect(dsn)))

    @queue.entrypoint("job")  # type: ignore[untyped-decorator]  # as above
    async def _take(_job: Job) -> None:
        await begin_job(hangs=hangs)

    return await timed(queue.run(batch_size=SLOTS))


async def _hang(dsn: str, _url: str, _count: int) -> Took:
    return await _work(dsn, hangs=True)


async def _take(dsn: str, _url: str, _count: int) -> Took:
    return await _work(dsn, hangs=False)


tell({"writers": _writers, "bulk": _bulk, "jobs": _jobs, "killed": _killed, "hang": _hang, "take": _take})
