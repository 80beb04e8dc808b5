"""What Redis says of itself, of its memory and of our jobs. It reads, and changes nothing."""

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
"""Waiting mails whose size is looked at."""
_OF_A_ROLE = "momentus-"
"""How the users begin that `ops acl` writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """All that the judge needs.

    Attributes:
        info: the answer to INFO; empty without the right to it. config: `maxmemory-policy`, `appendonly`,
        `appendfsync`; empty where the server does not tell (managed ones). skew: seconds by which its clock is
        ahead of this machine's. mail_octets: memory of one waiting mail, the mean of some; None when none waits.
        host, encrypted, password: from the address. lacking: rights that the user has not, each with what is not
        done. flood: many addresses that were suppressed at once.
    """

    info: Mapping[str, Any]
    config: Mapping[str, str]
    skew: float | None
    mail_octets: int | None
    depth: Depth | None
    host: str
    encrypted: bool
    password: bool
    flood: Flood | None = None
    lacking: tuple[tuple[str, str], ...] = ()


class _PermittedQueries:
    """Asks one thing after the other, and takes note of what the user may not ask."""

    def __init__(self) -> None:
        self.lacking: list[tuple[str, str]] = []

    async def ask(self, part: str, asked: Awaitable[Reply]) -> Reply | None:
        """The answer, or None without the right to it.

        Args:
            part: what is not done without it.

        Raises:
            RedisError, OSError: it did not answer.
        """
        try:
            return await asked
        except ResponseError as error:
            if not (right := missing_right(error)):
                raise
            self.lacking.append((right, part))
            return None


async def gather_redis(redis: Redis, url: str, *, tenant: str, clock_bound: timedelta = BOUND) -> RedisFacts:
    """Ask.

    Raises:
        RedisError, OSError: it did not answer.
    """
    address, asker = urlsplit(url), _PermittedQueries()
    facts = RedisFacts(
        info=await asker.ask("version, memory and durability are not looked at", redis.info("everything")) or {},
        config=await asker.ask("what it does when full is known from INFO alone", _config(redis)) or {},
        skew=await asker.ask("its clock is not looked at", _skew(redis)),
        mail_octets=await asker.ask("the size of a mail is a guess", _mail_octets(redis)),
        depth=await asker.ask(
            "queues, workers and reports are not looked at",
            read_depth(redis, tenant=tenant, clock_bound=clock_bound),
        ),
        host=address.hostname or "localhost",
        encrypted=address.scheme == "rediss",
        password=bool(address.password),
        flood=await asker.ask("suppressed addresses are not looked at", find_flood(redis)),
    )
    if not (address.username or "").startswith(_OF_A_ROLE) and not address.scheme.startswith("cluster"):
        await _probe(redis, asker)
    return replace(facts, lacking=tuple(asker.lacking))


async def _probe(redis: Redis, asker: _PermittedQueries) -> None:
    """Try what other processes need of a user that all of them share; a role's user has it, or needs it not."""
    await asker.ask("workers look for new jobs once a second", cast("Awaitable[Any]", redis.client_id()))
    await asker.ask("workers end no read of theirs before a second is over", redis.client_unblock(0))
    await asker.ask("readers keep no copy", cast("Awaitable[Any]", redis.client_tracking_off()))


async def _config(redis: Redis) -> Mapping[str, str]:
    try:
        told: dict[object, object] = {}
        for name in ("maxmemory-policy", "appendonly", "appendfsync"):
            told |= await redis.config_get(name)
    except ResponseError as error:
        if missing_right(error):
            raise
        return {}  # there is no CONFIG, as with most managed servers
    return {_text(name): _text(value) for name, value in told.items()}


async def _skew(redis: Redis) -> float:
    """The difference to the middle of the question."""
    before = time.time()
    seconds, microseconds = await redis.time()
    return float(seconds + microseconds / 1e6 - (before + time.time()) / 2)


async def _mail_octets(redis: Redis) -> int | None:
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
