"""Limits of a lane group that an operator should see: those that are defined, and those that are only held.

A hold needs no definition: an undefined limit, or a member of a family (`customer:42`), may be held by its key.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from ops.depth.lane_limits import read_budgets
from ops.limits.budget import BucketBudget, LimitBudget, WindowBudget
from ops.shared_reads import read_together, share_reads
from producers.keys import LaneKeys
from producers.limits.limit import Rate, Window
from producers.limits.limits import Limits, LimitState

_HOLD = b"limit:"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateUse:
    """Use of one rate of a limit.

    Attributes:
        used: jobs that began and still count: for a bucket, those that it has not refilled yet.
        room: jobs that may begin now by this rate alone, the reserve for urgent lanes left out.
        free_in: time until the next may begin by this rate alone.
    """

    rate: Rate | Window
    used: int
    room: int
    free_in: timedelta


async def read_limits(redis: Redis, keys: LaneKeys) -> list[LimitState]:
    """Return the states of the limits of a group, by key. Raises RedisError, OSError."""
    async with share_reads(redis) as reads:
        limits = Limits(reads, keys.tag)
        call: Any = reads.execute_command
        defined, fields = await read_together(limits.all(), call("HKEYS", keys.holds))
        held = {field.removeprefix(_HOLD).decode() for field in fields if field.startswith(_HOLD)}
        others = await limits.states(sorted(held - {one.key for one in defined}))
    return sorted([*defined, *(one for one in others if one.held)], key=lambda one: one.key)


async def read_rate_uses(redis: Redis, keys: LaneKeys, states: list[LimitState]) -> dict[str, tuple[RateUse, ...]]:
    """Return the use of each rate of some limits, by their keys. Raises RedisError, OSError."""
    seconds, microseconds = await redis.time()
    budgets = await read_budgets(redis, keys, states, seconds * 1000 + microseconds // 1000, urgent=False)
    return {key: tuple(rate_use(one, budget) for one in budget.rates) for key, budget in budgets.items()}


def rate_use(one: BucketBudget | WindowBudget, of_limit: LimitBudget) -> RateUse:
    """Return the use of a rate, with the pace and the reserve of its limit, as claims compute it (`limits.lua`).

    >>> rate = Rate(count=60, per=timedelta(minutes=1), burst=3)
    >>> use = rate_use(BucketBudget(rate=rate, tokens=0.25), LimitBudget(pace=0.5))
    >>> use.used, use.room, use.free_in
    (3, 0, datetime.timedelta(seconds=2, microseconds=750000))
    """
    if isinstance(one, WindowBudget):
        return _window_use(one, of_limit)
    return _bucket_use(one, of_limit)


def _bucket_use(bucket: BucketBudget, of_limit: LimitBudget) -> RateUse:
    rate = bucket.rate
    whole_in = (rate.burst - bucket.tokens) * rate.per / rate.count
    interval = rate.per / (rate.count * of_limit.pace)
    capacity = _usable(rate.burst, of_limit)
    return RateUse(
        rate=rate,
        used=rate.burst - int(bucket.tokens),
        room=max(0, capacity - math.ceil(whole_in / interval)),
        free_in=max(timedelta(0), whole_in - (capacity - 1) * interval),
    )


def _window_use(window: WindowBudget, of_limit: LimitBudget) -> RateUse:
    used, capacity = sum(count for _, count in window.started), _usable(window.rate.count, of_limit)
    free_in, left = timedelta(0), used
    for over, count in sorted(window.started):
        if left < capacity:
            break
        free_in, left = over, left - count
    return RateUse(rate=window.rate, used=used, room=max(0, capacity - used), free_in=free_in)


def _usable(whole: int, of_limit: LimitBudget) -> int:
    """Return how much of a whole a lane that is not urgent may use at this pace."""
    paced = max(1, math.floor(whole * of_limit.pace))
    return paced - min(paced - 1, math.ceil(paced * of_limit.reserve))
