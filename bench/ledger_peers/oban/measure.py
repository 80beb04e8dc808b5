"""Oban for Python, with its defaults but for the slots of its queue."""

import asyncio
from typing import Any

import psycopg
from oban import Oban, worker
from oban.schema import install

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

_LEFT = "SELECT EXISTS (SELECT FROM oban_jobs WHERE state <> 'completed')"
_LOOK_SECONDS = 0.02


@worker(queue="default")
class _Job:
    async def process(self, _job: Any) -> None:  # noqa: ANN401  Oban's
        """Do nothing."""


_JOB: Any = _Job  # with what the decorator adds


@worker(queue="default")
class _Hanging:
    hangs = True

    async def process(self, _job: Any) -> None:  # noqa: ANN401  as above
        await begin_job(hangs=self.hangs)


_HANGING: Any = _Hanging


async def _opened(dsn: str) -> Any:  # noqa: ANN401  Oban ships no types for its pool
    pool = await Oban.create_pool(dsn=dsn)
    await install(pool)
    return pool


async def _connect(dsn: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def _enqueue_many(oban: Oban, connection: psycopg.AsyncConnection[Any], count: int) -> None:
    async with connection.transaction():
        for part in in_parts(count):
            await oban.enqueue_many(*[_JOB.new(MAIL) for _ in range(part)], conn=connection)


async def _writers(dsn: str, _url: str, count: int) -> Took:
    oban = Oban(pool=await _opened(dsn))

    async def enqueue(connection: psycopg.AsyncConnection[Any]) -> None:
        await oban.enqueue(_JOB.new(MAIL), conn=connection)

    return await write_together(enqueue, [await _connect(dsn) for _ in range(WRITERS)], count)


async def _bulk(dsn: str, _url: str, count: int) -> Took:
    return await timed(_enqueue_many(Oban(pool=await _opened(dsn)), await _connect(dsn), count))


async def _jobs(dsn: str, _url: str, count: int) -> Took:
    pool, connection = await _opened(dsn), await _connect(dsn)
    oban = Oban(pool=pool, queues={"default": SLOTS})
    await _enqueue_many(oban, connection, count)

    async def run() -> None:
        await oban.start()
        while (await (await connection.execute(_LEFT)).fetchone()) == (True,):  # noqa: ASYNC110  the event is in the server
            await asyncio.sleep(_LOOK_SECONDS)

    took = await timed(run())
    await oban.stop()
    return took


async def _killed(dsn: str, url: str, count: int) -> Took:
    oban, connection = Oban(pool=await _opened(dsn)), await _connect(dsn)

    async def enqueue(number: int) -> None:
        async with connection.transaction():
            await oban.enqueue_many(*[_HANGING.new(MAIL) for _ in range(number)], conn=connection)

    return await rerun(dsn, url, enqueue, count)


async def _work(dsn: str) -> Took:
    oban = Oban(pool=await Oban.create_pool(dsn=dsn), queues={"default": SLOTS})
    await oban.start()
    return await timed(asyncio.Event().wait())


async def _hang(dsn: str, _url: str, _count: int) -> Took:
    return await _work(dsn)


async def _take(dsn: str, _url: str, _count: int) -> Took:
    _Hanging.hangs = False
    return await _work(dsn)


tell({"writers": _writers, "bulk": _bulk, "jobs": _jobs, "killed": _killed, "hang": _hang, "take": _take})
