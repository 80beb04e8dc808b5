"""Promises of service as workers have noted them: the error budget that is left, and how fast it is used.

For each lane group one hash with the promises, seven of hours and thirty-one of days are read, if any worker ever
had a promise there; a promise that no worker has noted for a day is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from metrics.promise import REPORT, Minutes, budget_left, burn_rate
from ops.shared_reads import read_together

_HOURS, _DAYS = 7, 31
_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseState:
    """State of a promise.

    Attributes:
        name: a lane, or `report/` and a report.
        limit_ms: the largest age that keeps it.
        target: the share of minutes in which it must be kept.
        kept, broken: minutes of the last 30 days.
        kept_in_all, broken_in_all: since the promise was first made.
        budget_left: the share of the 30-day error budget that is left; below 0 it is overdrawn.
        burn_hour, burn_six_hours: burn rates of the last hour and the last six.
    """

    name: str
    limit_ms: int
    target: float
    kept: int
    broken: int
    kept_in_all: int
    broken_in_all: int
    budget_left: float
    burn_hour: float
    burn_six_hours: float

    @property
    def is_report(self) -> bool:
        """True if the promise is about a report."""
        return self.name.startswith(REPORT)


async def read_promise_states(redis: Redis, *, now_us: int) -> tuple[PromiseState, ...]:
    """Read all promises, by their names. Raises RedisError, OSError."""
    minute = now_us // 60_000_000
    groups = await read_together(*(_read_group(redis, group, minute) for group in GROUPS))
    return tuple(promise for promises in groups for promise in promises)


async def _read_group(redis: Redis, group: str, minute: int) -> list[PromiseState]:
    state = f"momentus:{{{group}}}:promises"
    facts = _decoded(await redis.hgetall(state))  # type: ignore[misc]  # typed for both clients
    if not facts:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for hour in range(minute // 60, minute // 60 - _HOURS, -1):
            pipe.hgetall(f"{state}:h{hour}")
        for day in range(minute // _DAY_MINUTES, minute // _DAY_MINUTES - _DAYS, -1):
            pipe.hgetall(f"{state}:d{day}")
        buckets = [_decoded(one) for one in await pipe.execute()]
    names = sorted(field.removesuffix(":limit") for field in facts if field.endswith(":limit"))
    states = (read_promise_state(name, facts, buckets[:_HOURS], buckets[_HOURS:], minute) for name in names)
    return [one for one in states if one is not None]


def read_promise_state(
    name: str,
    facts: Mapping[str, str],
    hours: list[dict[str, str]],
    days: list[dict[str, str]],
    minute: int,
) -> PromiseState | None:
    """Return the state of a promise from what is stored; None if it is no longer noted or cannot be read.

    Args:
        hours, days: the latest first.
        minute: the current one, since 1970.
    """
    try:
        if minute - int(facts[f"{name}:minute"]) > _DAY_MINUTES:
            return None
        target = float(facts[f"{name}:target"])
        month = sum((_minutes(name, one) for one in days[:-1]), Minutes())
        in_all = _minutes(name, facts)
        return PromiseState(
            name=name,
            limit_ms=int(facts[f"{name}:limit"]),
            target=target,
            kept=int(month.kept),
            broken=int(month.broken),
            kept_in_all=int(in_all.kept),
            broken_in_all=int(in_all.broken),
            budget_left=round(budget_left(month, target), 4),
            burn_hour=round(burn_rate(_last_hours(name, hours, 1, minute), target), 2),
            burn_six_hours=round(burn_rate(_last_hours(name, hours, 6, minute), target), 2),
        )
    except (ValueError, KeyError, ZeroDivisionError):
        return None


def _last_hours(name: str, hours: list[dict[str, str]], count: int, minute: int) -> Minutes:
    """Return the minutes of the last hours: the current one, and the part of the oldest that still counts."""
    full = sum((_minutes(name, one) for one in hours[:count]), Minutes())
    return full + _minutes(name, hours[count]).scaled(1 - minute % 60 / 60)


def _minutes(name: str, stored: Mapping[str, Any]) -> Minutes:
    return Minutes(int(stored.get(f"{name}:kept", 0)), int(stored.get(f"{name}:broken", 0)))


def _decoded(stored: Mapping[bytes, bytes]) -> dict[str, str]:
    return {field.decode(errors="replace"): value.decode(errors="replace") for field, value in stored.items()}
