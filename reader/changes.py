"""Subscription to published changes, on a separate connection; only the hints use it.

Messages published while the reader is not connected are lost, which is harmless: hints are only hints. So after an
outage it is enough to subscribe again. If the Redis user lacks the right to subscribe, the log says so and the
pauses between attempts grow.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from producers.rights import missing_right

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_ALIVE_S = 10

log = logging.getLogger(__name__)


async def listen_for_changes(
    redis: Redis, channel: str, tell: Callable[[bytes], None], resume: Callable[[], None]
) -> None:
    """Pass on published messages until cancelled.

    Args:
        redis: a client with a socket timeout above ten seconds (the interval of pings), or none.
        tell: called with each message.
        resume: called whenever the subscription starts: messages published before were missed.
    """
    pause = _PAUSE_S
    while True:
        try:
            await _listen_once(redis, channel, tell, resume)
        except (RedisError, OSError, TimeoutError) as error:
            right = missing_right(error)
            pause = min(2 * pause, _LONGEST_PAUSE_S) if right else _PAUSE_S
            if right:
                log.warning("hints: the Redis user lacks %s, so none are sent; see `./run ops acl`", right)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret


async def _listen_once(
    redis: Redis, channel: str, tell: Callable[[bytes], None], resume: Callable[[], None]
) -> None:
    async with redis.pubsub() as subscription:
        await subscription.subscribe(channel)
        while True:
            message = await subscription.get_message(timeout=_ALIVE_S)
            if message is None:
                await subscription.ping()
            elif message["type"] == "subscribe":
                resume()
            elif message["type"] == "message":
                tell(message["data"])
