"""arq has no bulk call: a hundred calls at a time."""

import uvloop
from arq import create_pool
from arq.connections import RedisSettings

from bench.queue_peers.contract import URL, Mail, produce, together


async def _main() -> None:
    redis = await create_pool(RedisSettings.from_dsn(URL))

    async def one(mail: Mail) -> None:
        await redis.enqueue_job("job", **mail)  # type: ignore[arg-type]  # no name in it is one of arq's options

    await produce(one, together(one))
    await redis.aclose()


uvloop.run(_main())
