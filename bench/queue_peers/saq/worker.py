"""SAQ with its defaults."""

import uvloop
from saq import Queue, Worker

from bench.queue_peers.contract import CONCURRENCY, URL, announce, async_job


async def _job(_context: dict[str, object], **mail: object) -> None:
    await async_job(**mail)


async def _work() -> None:
    worker = Worker(Queue.from_url(URL), functions=[("job", _job)], concurrency=CONCURRENCY)
    announce()
    await worker.start()


uvloop.run(_work())
