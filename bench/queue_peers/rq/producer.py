"""RQ's own bulk call, a thousand at a time."""

import asyncio
from collections.abc import Sequence

from redis import Redis
from rq import Queue

from bench.queue_peers.contract import URL, Mail, in_chunks, produce

_JOB = "bench.queue_peers.contract.job"
_queue = Queue(connection=Redis.from_url(URL))


async def _one(mail: Mail) -> None:
    _queue.enqueue(_JOB, kwargs=mail)


async def _many(mails: Sequence[Mail]) -> None:
    for chunk in in_chunks(mails, 1000):
        _queue.enqueue_many([Queue.prepare_data(_JOB, kwargs=mail) for mail in chunk])


asyncio.run(produce(_one, _many))
