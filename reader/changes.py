"""Listens for published changes and passes them on; for the hints alone, on a connection of its own.

What is published while nobody is connected is lost, and does no harm: hints are only hints. So there is nothing to
catch up on after an outage but to listen again. A user without the right to it is told in the log, and asks more
and more rarely.
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


async def listen(redis: Redis, channel: str, tell: Callable[[bytes], None], resume: Callable[[], None]) -> None:
    """Pass on what is published, until cancelled.

    Args:
        redis: a client with a socket timeout above ten seconds or none; it is asked for a sign of life that often.
        resume: called whenever it begins to hear: what was published before, nobody here was told.
    """
    pause = _PAUSE_S
    while True:
        try:
            await _listen_once(redis, channel, tell, resume)
        except (RedisError, OSError, TimeoutError) as error:
            right = missing_right(error)
            pause = min(2 * pause, _LONGEST_PAUSE_S) if right else _PAUSE_S
            if right:
                log.warning("no hints of changes: the user of Redis lacks %s; see `./run ops acl`", right)
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
