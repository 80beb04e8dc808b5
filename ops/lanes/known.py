"""Lanes of this Redis: the shipped ones, and those of own job kinds that have had a job or have a worker.

Lanes of own kinds share one group, whose counters name every lane that ever accepted a job; so a lane that no
worker serves is seen too.
"""

import argparse

from redis.asyncio import Redis

from jobs.errors import JobError
from jobs.lanes import LANES, OWN, own_lane
from producers.keys import LaneKeys, group_of

_ACCEPTED = b"accepted:"


async def known_lanes(redis: Redis) -> tuple[str, ...]:
    """Return all lanes, in the order in which tables show them.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return (*LANES, *await own_lanes(redis))


async def own_lanes(redis: Redis) -> list[str]:
    """Return the lanes of own kinds. Raises RedisError, OSError."""
    keys = LaneKeys(OWN)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hkeys(keys.counters)
        pipe.zcard(keys.workers)
        names, workers = await pipe.execute()
    found = {name.removeprefix(_ACCEPTED).decode() for name in names if name.startswith(_ACCEPTED)}
    return sorted(found | ({OWN} if workers else set()))


def lane_argument(text: str) -> str:
    """Read the name of a lane for argparse; own lanes have a dot, ``jobs.invoices``.

    >>> lane_argument("jobs.invoices"), lane_argument("mail.bulk")
    ('jobs.invoices', 'mail.bulk')
    """
    if text in LANES:
        return text
    try:
        if group_of(text) == OWN:
            return own_lane(text)
    except JobError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    allowed = ", ".join((*LANES, OWN))
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a lane; choose from {allowed}, or a lane like {OWN}.invoices"
    )
