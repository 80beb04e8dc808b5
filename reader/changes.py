"""Listens for published changes and passes them on; for the hints alone, on a connection of its own.

What is published while nobody is connected is lost, and does no harm: hints are only hints. So there is nothing to
catch up on after an outage but to listen again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

_PAUSE_S = 1.0
_ALIVE_S = 10


async def listen(redis: Redis, channel: str, tell: Callable[[bytes], None]) -> None:
    """Pass on what is published, until cancelled.

    Args:
        redis: a client with a socket timeout above ten seconds or none; it is asked for a sign of life that often.
    """
    while True:
        try:
            await _listen_once(redis, channel, tell)
        except (RedisError, OSError, TimeoutError):
            await asyncio.sleep(_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret


async def _listen_once(redis: Redis, channel: str, tell: Callable[[bytes], None]) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(channel)
        while True:
            message = await subscription.get_message(timeout=_ALIVE_S)
            if message is None:
                await subscription.ping()
            else:
                tell(message["data"])
