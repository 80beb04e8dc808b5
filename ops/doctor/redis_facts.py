"""Facts of Redis: its server, its memory and the queue. It reads, and changes nothing."""

import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from clocks import BOUND
from jobs.lanes import MAIL_LANES
from ops.depth.read import Depth, read_depth
from ops.mail.flood import Flood, find_flood
from producers.keys import LaneKeys
from producers.rights import missing_right

Reply = TypeVar("Reply")

_SAMPLE = 100
"""Number of waiting mails to measure."""
_OF_A_ROLE = "momentus-"
"""Prefix of the users that `ops acl` writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """Facts of Redis for the checks.

    Attributes:
        info: the reply to INFO; empty without the right to it.
        config: `maxmemory-policy`, `appendonly`, `appendfsync`; empty if the server does not return them (managed
            ones).
        skew: seconds by which its clock is ahead of this machine's.
        mail_bytes: mean memory of some waiting mails, in bytes; None if none waits.
        host, encrypted, password: from the address.
        flood: many addresses that were suppressed at once.
        lacking: rights that the user lacks, each with its consequence.
    """

    info: Mapping[str, Any]
    config: Mapping[str, str]
    skew: float | None
    mail_bytes: int | None
    depth: Depth | None
    host: str
    encrypted: bool
    password: bool
    flood: Flood | None = None
    lacking: tuple[tuple[str, str], ...] = ()


class _PermittedQueries:
    """Queries in sequence, with a note of each that the user may not send."""

    def __init__(self) -> None:
        self.lacking: list[tuple[str, str]] = []

    async def run_query(self, part: str, query: Awaitable[Reply]) -> Reply | None:
        """Return the reply, or None without the right to the query.

        Args:
            part: the consequence of the missing right.

        Raises:
            RedisError, OSError: Redis did not answer.
        """
        try:
            return await query
        except ResponseError as error:
            if not (right := missing_right(error)):
                raise
            self.lacking.append((right, part))
            return None


async def gather_redis(redis: Redis, url: str, *, tenant: str, clock_bound: timedelta = BOUND) -> RedisFacts:
    """Read the facts of Redis.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    address, asker = urlsplit(url), _PermittedQueries()
    facts = RedisFacts(
        info=await asker.run_query("version, memory and durability are not checked", redis.info("everything"))
        or {},
        config=await asker.run_query("its behaviour when full is known from INFO alone", _config(redis)) or {},
        skew=await asker.run_query("its clock is not checked", _skew(redis)),
        mail_bytes=await asker.run_query("the size of a mail is estimated", _mail_bytes(redis)),
        depth=await asker.run_query(
            "queues, workers and reports are not checked",
            read_depth(redis, tenant=tenant, clock_bound=clock_bound),
        ),
        host=address.hostname or "localhost",
        encrypted=address.scheme == "rediss",
        password=bool(address.password),
        flood=await asker.run_query("suppressed addresses are not checked", find_flood(redis)),
    )
    if not (address.username or "").startswith(_OF_A_ROLE) and not address.scheme.startswith("cluster"):
        await _probe(redis, asker)
    return replace(facts, lacking=tuple(asker.lacking))


async def _probe(redis: Redis, asker: _PermittedQueries) -> None:
    """Try the commands that other processes need from a shared user; a role's user has those of its role."""
    await asker.run_query("workers poll for new jobs once a second", cast("Awaitable[Any]", redis.client_id()))
    await asker.run_query("workers cannot end a blocking read before a second is over", redis.client_unblock(0))
    await asker.run_query("readers keep no cache", cast("Awaitable[Any]", redis.client_tracking_off()))


async def _config(redis: Redis) -> Mapping[str, str]:
    try:
        values: dict[object, object] = {}
        for name in ("maxmemory-policy", "appendonly", "appendfsync"):
            values |= await redis.config_get(name)
    except ResponseError as error:
        if missing_right(error):
            raise
        return {}  # most managed servers have no CONFIG
    return {_text(name): _text(value) for name, value in values.items()}


async def _skew(redis: Redis) -> float:
    """Return the difference between the clocks, measured at the middle of the round trip."""
    before = time.time()
    seconds, microseconds = await redis.time()
    return float(seconds + microseconds / 1e6 - (before + time.time()) / 2)


async def _mail_bytes(redis: Redis) -> int | None:
    sizes: list[int] = []
    for lane in MAIL_LANES:
        job_ids = await redis.zrange(LaneKeys(lane).queue, 0, _SAMPLE - 1)
        pipe = redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.memory_usage(b"arq:job:" + job_id)
        sizes += [size for size in await pipe.execute() if size]
    return sum(sizes) // len(sizes) if sizes else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
