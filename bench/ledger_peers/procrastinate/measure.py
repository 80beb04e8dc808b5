"""Procrastinate by psycopg, with its defaults but for the concurrency.

It has no re-run by itself; that is the periodic task of its manual (Retry stalled jobs), each ten minutes.
"""

from collections.abc import Awaitable, Callable

import psycopg
from procrastinate import App, JobContext, PsycopgConnector

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


async def _do_nothing(**_mail: object) -> None:
    """Do nothing."""


async def _opened(dsn: str, take: Callable[..., Awaitable[None]] = _do_nothing) -> App:
    app = App(connector=PsycopgConnector(conninfo=dsn))
    app.task(name="job")(take)
    await app.open_async()
    return app


async def _installed(dsn: str) -> App:
    app = await _opened(dsn)
    await app.schema_manager.apply_schema_async()
    return app


async def _connect(dsn: str) -> psycopg.AsyncConnection[object]:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def _enqueue_many(app: App, connection: psycopg.AsyncConnection[object], count: int) -> None:
    async with connection.transaction():
        for part in in_parts(count):
            await app.configure_task("job", connection=connection).batch_defer_async(*[MAIL] * part)


async def _writers(dsn: str, _url: str, count: int) -> Took:
    app = await _installed(dsn)

    async def enqueue(connection: psycopg.AsyncConnection[object]) -> None:
        await app.configure_task("job", connection=connection).defer_async(**MAIL)

    return await write_together(enqueue, [await _connect(dsn) for _ in range(WRITERS)], count)


async def _bulk(dsn: str, _url: str, count: int) -> Took:
    return await timed(_enqueue_many(await _installed(dsn), await _connect(dsn), count))


async def _jobs(dsn: str, _url: str, count: int) -> Took:
    app = await _installed(dsn)
    await _enqueue_many(app, await _connect(dsn), count)
    return await timed(app.run_worker_async(wait=False, concurrency=SLOTS, install_signal_handlers=False))


async def _killed(dsn: str, url: str, count: int) -> Took:
    app, connection = await _installed(dsn), await _connect(dsn)
    return await rerun(dsn, url, lambda number: _enqueue_many(app, connection, number), count)


async def _work(dsn: str, *, hangs: bool) -> Took:
    async def take(**_mail: object) -> None:
        await begin_job(hangs=hangs)

    app = await _opened(dsn, take)

    @app.periodic(cron="*/10 * * * *")  # type: ignore[untyped-decorator]  # as above
    @app.task(queueing_lock="retry_stalled_jobs", pass_context=True)  # type: ignore[untyped-decorator]  # as above
    async def _retry_stalled_jobs(_context: JobContext, timestamp: int) -> None:
        del timestamp
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)

    return await timed(app.run_worker_async(concurrency=SLOTS, install_signal_handlers=False))


async def _hang(dsn: str, _url: str, _count: int) -> Took:
    return await _work(dsn, hangs=True)


async def _take(dsn: str, _url: str, _count: int) -> Took:
    return await _work(dsn, hangs=False)


tell({"writers": _writers, "bulk": _bulk, "jobs": _jobs, "killed": _killed, "hang": _hang, "take": _take})
