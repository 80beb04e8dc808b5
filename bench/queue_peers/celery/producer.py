"""Celery has no bulk call: one after the other over one kept producer."""

import asyncio
from collections.abc import Sequence

from celery import Celery

from bench.queue_peers.contract import URL, Mail, produce

_app = Celery("bench", broker=URL)


async def _one(mail: Mail) -> None:
    _app.send_task("job", kwargs=mail)


async def _many(mails: Sequence[Mail]) -> None:
    with _app.producer_pool.acquire(block=True) as producer:
        for mail in mails:
            _app.send_task("job", kwargs=mail, producer=producer)


asyncio.run(produce(_one, _many))
