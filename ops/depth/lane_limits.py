"""Limits that delay a lane: those that its jobs need, and those that single jobs name. It only reads.

Of the jobs that a limit of their own holds back, a hundred are examined, so that the cost is bounded: a limit that
holds back many jobs is among theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from clocks import moment
from ops.limits.budget import LimitBudget, read_budget
from ops.shared_reads import read_together
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Rate, Window
from producers.limits.limits import Limits, LimitState


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """The limits of one lane.

    Attributes:
        states: the limits of which each job needs one, in the order in which workers try them.
        held_back: number of waiting jobs that the limit they name keeps from running.
        named: the limits that such jobs name.
        budgets: of all these limits, by their keys.
    """

    states: tuple[LimitState, ...] = ()
    held_back: int = 0
    named: tuple[LimitState, ...] = ()
    budgets: Mapping[str, LimitBudget] = field(default_factory=dict)

    @property
    def used_up(self) -> bool:
        """True if its jobs need a limit and none has room."""
        return bool(self.states) and all(state.room == 0 for state in self.states)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"held_back": self.held_back, "needs_one_of": [state_json(state) for state in self.states]}


def state_json(state: LimitState) -> dict[str, Any]:
    """Return a limit as plain values; ``orjson`` writes the datetimes."""
    limit = state.limit
    rates = [] if limit is None else limit.rates
    return {
        "key": state.key,
        "defined": limit is not None,
        "readable": state.readable,
        "rates": [_rate_json(one) for one in rates],
        "concurrency": limit and limit.concurrency,
        "reserve": limit.reserve if limit else 0.0,
        "pace": state.pace,
        "held": state.held and asdict(state.held),
        "room": state.room,
        "free_in_ms": None if state.free_in is None else round(state.free_in / timedelta(milliseconds=1)),
        "blocked": state.blocked,
        "running": state.running,
    }


def _rate_json(rate: Rate | Window) -> dict[str, Any]:
    kind = {"parts": rate.parts} if isinstance(rate, Window) else {"burst": rate.burst}
    return {"count": rate.count, "per_s": rate.per.total_seconds(), **kind}


async def read_lane_limits(
    redis: Redis,
    group: Sequence[LaneKeys],
    bindings: Mapping[str, LaneLimit],
    held_back: Mapping[str, int],
    *,
    now_ms: int,
) -> Mapping[str, LaneLimits]:
    """Read the limits of the lanes of one group.

    Args:
        bindings: those of the lanes, by their names.
        held_back: number of jobs of each lane that a limit of their own holds back.
        now_ms: by Redis's clock.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found = await read_together(
        *(_read_limits(redis, keys, bindings.get(keys.lane), held_back[keys.lane], now_ms) for keys in group)
    )
    return {keys.lane: limits for keys, limits in zip(group, found, strict=True)}


async def _read_limits(
    redis: Redis, keys: LaneKeys, binding: LaneLimit | None, held_back: int, now_ms: int
) -> LaneLimits:
    limits, binding = Limits(redis, keys.tag), binding or LaneLimit()
    states = await limits.states(binding.keys, urgent=binding.urgent)
    named = await limits.states(await _named_keys(redis, keys)) if held_back else []
    return LaneLimits(
        states=tuple(states),
        held_back=held_back,
        named=tuple(named),
        budgets=await read_budgets(redis, keys, [*states, *named], now_ms, urgent=binding.urgent),
    )


_LOOKED_AT = 100


async def _named_keys(redis: Redis, keys: LaneKeys) -> list[str]:
    """Return the limits that a hundred of the held-back jobs name."""
    ids = await redis.srandmember(keys.held_back, _LOOKED_AT)  # type: ignore[misc]  # redis-py
    named = await redis.hmget(keys.limited, ids) if ids else []  # type: ignore[misc]  # redis-py
    return sorted({name.decode() for name in named if name})


async def read_budgets(
    redis: Redis, keys: LaneKeys, states: Sequence[LimitState], now_ms: int, *, urgent: bool
) -> dict[str, LimitBudget]:
    """Return the budgets of limits, from what is stored about their rates."""
    fields = [f"{one.key}#{number}" for one in states for number, _ in enumerate(_rates(one), 1)]
    texts = iter(await redis.hmget(keys.buckets, fields) if fields else [])  # type: ignore[misc]  # redis-py
    return {
        one.key: LimitBudget(
            rates=tuple(read_budget(rate, next(texts), now_ms) for rate in _rates(one)),
            pace=one.pace,
            reserve=0.0 if urgent or one.limit is None else one.limit.reserve,
            opens_in=_opens_in(one, now_ms),
        )
        for one in states
    }


def _rates(state: LimitState) -> Sequence[Rate | Window]:
    return state.limit.rates if state.limit else ()


def _opens_in(state: LimitState, now_ms: int) -> timedelta | None:
    if not state.readable:
        return None
    if state.held is None:
        return timedelta(0)
    until = state.held.until
    return None if until is None else max(timedelta(0), until - moment(now_ms * 1000))
