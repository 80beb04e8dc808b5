"""dramatiq has no bulk call: one after the other."""

import asyncio
from collections.abc import Sequence

from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from bench.queue_peers.contract import URL, Mail, produce

_broker = RedisBroker(url=URL)
_broker.declare_queue("default")


async def _one(mail: Mail) -> None:
    _broker.enqueue(Message(queue_name="default", actor_name="job", args=(), kwargs=dict(mail), options={}))


async def _many(mails: Sequence[Mail]) -> None:
    for mail in mails:
        await _one(mail)


asyncio.run(produce(_one, _many))
