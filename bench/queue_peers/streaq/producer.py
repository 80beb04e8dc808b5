"""streaQ's own bulk call, a thousand at a time."""

from collections.abc import Sequence

import uvloop
from streaq import Worker

from bench.queue_peers.contract import URL, Mail, in_chunks, produce


async def _main() -> None:
    async with Worker(redis_url=URL) as worker:

        async def one(mail: Mail) -> None:
            await worker.enqueue_unsafe("job", **mail)

        async def many(mails: Sequence[Mail]) -> None:
            for chunk in in_chunks(mails, 1000):
                await worker.enqueue_many([worker.enqueue_unsafe("job", **mail) for mail in chunk])

        await produce(one, many)


uvloop.run(_main())
