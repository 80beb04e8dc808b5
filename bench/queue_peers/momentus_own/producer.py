"""Hands over jobs of an own kind, by `send` and `send_many`. Argument: where they run."""

from collections.abc import Sequence

import uvloop

from bench.queue_peers.contract import URL, Mail, peer_arguments, produce
from bench.queue_peers.momentus_own.jobs import CLASSES
from producers import Producer


async def _main() -> None:
    (place,) = peer_arguments()
    own = CLASSES[place]
    async with Producer.connect(URL, budget=2) as producer:

        async def one(mail: Mail) -> None:
            await producer.send(own(**mail))

        async def many(mails: Sequence[Mail]) -> None:
            await producer.send_many([own(**mail) for mail in mails])

        await produce(one, many)


uvloop.run(_main())
