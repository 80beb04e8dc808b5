"""Stock arq. Argument: its poll_delay in seconds (0.5 by default)."""

import sys

import uvloop
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.queue_peers.contract import CONCURRENCY, URL, announce, async_job


async def _job(_context: dict[str, object], **mail: object) -> None:
    await async_job(**mail)


async def _work() -> None:
    worker = Worker(
        [func(_job, name="job")],  # type: ignore[arg-type]  # arq wants the context as a dict of anything
        redis_settings=RedisSettings.from_dsn(URL),
        max_jobs=CONCURRENCY,
        poll_delay=float(sys.argv[1]),
    )
    announce()
    await worker.async_run()


uvloop.run(_work())
