"""What Redis says of itself, of its memory and of our jobs. It reads, and changes nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobs import LANES
from ops.depth import Depth, read_depth
from ops.mail.flood import Flood, find_flood
from producers.keys import LaneKeys

_SAMPLE = 100
"""Waiting mails whose size is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """All that the judge needs.

    Attributes:
        info: the answer to INFO. config: `maxmemory-policy`, `appendonly`, `appendfsync`; empty where the server
        does not tell (managed ones). skew: seconds by which its clock is ahead of this machine's. mail_octets:
        memory of one waiting mail, the mean of some; None when none waits. host, encrypted, password: from the
        address. flood: many addresses that were suppressed at once.
    """

    info: Mapping[str, Any]
    config: Mapping[str, str]
    skew: float
    mail_octets: int | None
    depth: Depth
    host: str
    encrypted: bool
    password: bool
    flood: Flood | None = None


async def gather_redis(redis: Redis, url: str, *, tenant: str) -> RedisFacts:
    """Ask.

    Raises:
        RedisError, OSError: it did not answer.
    """
    address = urlsplit(url)
    return RedisFacts(
        info=await redis.info("everything"),
        config=await _config(redis),
        skew=await _skew(redis),
        mail_octets=await _mail_octets(redis),
        depth=await read_depth(redis, tenant=tenant),
        host=address.hostname or "localhost",
        encrypted=address.scheme == "rediss",
        password=bool(address.password),
        flood=await find_flood(redis),
    )


async def _config(redis: Redis) -> Mapping[str, str]:
    try:
        told: dict[object, object] = {}
        for name in ("maxmemory-policy", "appendonly", "appendfsync"):
            told |= await redis.config_get(name)
    except ResponseError:  # not allowed, as with most managed servers
        return {}
    return {_text(name): _text(value) for name, value in told.items()}


async def _skew(redis: Redis) -> float:
    """The difference to the middle of the question."""
    before = time.time()
    seconds, microseconds = await redis.time()
    return float(seconds + microseconds / 1e6 - (before + time.time()) / 2)


async def _mail_octets(redis: Redis) -> int | None:
    sizes: list[int] = []
    for lane in (lane for lane in LANES if lane.startswith("mail.")):
        job_ids = await redis.zrange(LaneKeys(lane).queue, 0, _SAMPLE - 1)
        pipe = redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.memory_usage(b"arq:job:" + job_id)
        sizes += [size for size in await pipe.execute() if size]
    return sum(sizes) // len(sizes) if sizes else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
