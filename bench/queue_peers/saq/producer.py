"""SAQ has no bulk call: a hundred calls at a time."""

import uvloop
from saq import Queue

from bench.queue_peers.contract import URL, Mail, produce, together


async def _main() -> None:
    queue = Queue.from_url(URL)
    await queue.connect()

    async def one(mail: Mail) -> None:
        await queue.enqueue("job", **mail)

    await produce(one, together(one))
    await queue.disconnect()


uvloop.run(_main())
