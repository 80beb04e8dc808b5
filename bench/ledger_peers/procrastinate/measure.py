"""Procrastinate by psycopg, with its defaults but for the concurrency."""

import psycopg
from procrastinate import App, PsycopgConnector

from bench.ledger_peers.contract import MAIL, SLOTS, WRITERS, Took, in_parts, tell, timed, write_together


async def _opened(dsn: str) -> App:
    app = App(connector=PsycopgConnector(conninfo=dsn))

    @app.task(name="job")  # type: ignore[untyped-decorator]  # its types are in its environment
    async def _take(**_mail: object) -> None:
        """Do nothing."""

    await app.open_async()
    await app.schema_manager.apply_schema_async()
    return app


async def _connect(dsn: str) -> psycopg.AsyncConnection[object]:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


async def _enqueue_many(app: App, connection: psycopg.AsyncConnection[object], count: int) -> None:
    async with connection.transaction():
        for part in in_parts(count):
            await app.configure_task("job", connection=connection).batch_defer_async(*[MAIL] * part)


async def _writers(dsn: str, _url: str, count: int) -> Took:
    app = await _opened(dsn)

    async def enqueue(connection: psycopg.AsyncConnection[object]) -> None:
        await app.configure_task("job", connection=connection).defer_async(**MAIL)

    return await write_together(enqueue, [await _connect(dsn) for _ in range(WRITERS)], count)


async def _bulk(dsn: str, _url: str, count: int) -> Took:
    return await timed(_enqueue_many(await _opened(dsn), await _connect(dsn), count))


async def _jobs(dsn: str, _url: str, count: int) -> Took:
    app = await _opened(dsn)
    await _enqueue_many(app, await _connect(dsn), count)
    return await timed(app.run_worker_async(wait=False, concurrency=SLOTS, install_signal_handlers=False))


tell({"writers": _writers, "bulk": _bulk, "jobs": _jobs})
