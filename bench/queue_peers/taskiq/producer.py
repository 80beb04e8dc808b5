"""taskiq has no bulk call: a hundred calls at a time. Argument: list or stream."""

import uvloop
from taskiq.kicker import AsyncKicker
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench.queue_peers.contract import URL, Mail, peer_arguments, produce, together

_BROKERS = {"list": ListQueueBroker, "stream": RedisStreamBroker}


async def _main() -> None:
    (kind,) = peer_arguments()
    broker = _BROKERS[kind](URL)
    await broker.startup()
    kicker = AsyncKicker("job", broker, {})

    async def one(mail: Mail) -> None:
        await kicker.kiq(**mail)

    await produce(one, together(one))
    await broker.shutdown()


uvloop.run(_main())
