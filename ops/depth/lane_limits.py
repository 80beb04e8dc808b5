"""Limits that delay a lane: those that its jobs need, and those that single jobs name. It only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from producers.keys import LaneKeys
from producers.limits.limit import Rate, Window
from producers.limits.limits import Limits, LimitState


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """The limits of one lane.

    Attributes:
        states: the limits of which its jobs need one, in the order in which workers try them.
        held_back: number of waiting jobs that the limit they name keeps from running.
    """

    states: tuple[LimitState, ...] = ()
    held_back: int = 0

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


async def read_lane_limits(redis: Redis, group: Sequence[LaneKeys]) -> Mapping[str, LaneLimits]:
    """Read the limits of the lanes of one group.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    limits = Limits(redis, group[0].tag)
    bindings = await limits.bindings()
    found: dict[str, LaneLimits] = {}
    for keys in group:
        binding = bindings.get(keys.lane)
        states = await limits.states(binding.keys, urgent=binding.urgent) if binding else []
        held_back = redis.scard(keys.held_back)
        found[keys.lane] = LaneLimits(states=tuple(states), held_back=await held_back)  # type: ignore[misc]  # redis-py
    return found
