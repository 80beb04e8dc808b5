"""taskiq-redis without a result backend, which is its default. Argument: list or stream."""

import sys

import uvloop
from taskiq.api import run_receiver_task
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench.queue_peers.contract import CONCURRENCY, URL, announce, async_job

_BROKERS = {"list": ListQueueBroker, "stream": RedisStreamBroker}


async def _work() -> None:
    broker = _BROKERS[sys.argv[1]](URL)
    broker.register_task(async_job, task_name="job")
    announce()
    await run_receiver_task(broker, max_async_tasks=CONCURRENCY, run_startup=True)


uvloop.run(_work())
