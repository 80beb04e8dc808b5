"""The limits of one lane group as they stand in Redis: define them, hold them, slow them down, look at them.

Everything here takes effect with the next claim of any worker; whoever waits hears of it at once. A limit that
nobody defined has no bounds, but may be held.

What can go wrong: Redis away, which is the caller's to deal with; every change may be asked for again. A
definition that cannot be read (written by hand, or by a later version) gives nothing until it is defined anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from redis.asyncio import Redis

from ..keys import LaneKeys
from ..link import Argument, Link
from ..operation import Operation
from .hold import Hold, read_hold
from .limit import LaneLimit, Limit, LimitError, check_key

Changes = list[tuple[str, bytes | str]]
"""Fields of the hash of limits and what they are to hold, ``""`` for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """A limit at an instant.

    Attributes:
        limit: what is defined for it, or for its family; None: nothing, or what cannot be read.
        readable: False when it gives nothing because what Redis has of it cannot be read.
        pace: the share of it that counts now, 1 when it is not slowed down.
        held: why it gives nothing, if somebody said so.
        room: how many it gives now; None for any number.
        free_in: until it gives one more; None: when a job ends, or somebody releases it.
        blocked: jobs that name it and wait for it.
        running: places that are taken; counted where there is a concurrency.
    """

    key: str
    limit: Limit | None
    readable: bool
    pace: float
    held: Hold | None
    room: int | None
    free_in: timedelta | None
    blocked: int
    running: int


class Limits:
    """The limits of a lane group.

    Args:
        client: a link to the server that has the group, or a redis-py asyncio client.
        tag: the group's hash tag, braces included: ``{mail}``.

    Example:
        limits = Limits(redis, "{mail}")
        await limits.define(Limit("account:main", (Rate.within(30, timedelta(minutes=1)),), concurrency=5))
        await limits.hold("account:main", timedelta(minutes=5), "the provider asks for a pause")
    """

    def __init__(self, client: Link | Redis, tag: str) -> None:
        self._call = client.call if isinstance(client, Link) else client.execute_command
        self._keys = LaneKeys(tag.strip("{}"))

    async def define(self, *limits: Limit) -> None:
        """Set limits, each in place of what its key was before. What is used up of a rate stays used up."""
        await self._change([(one.key, one.to_json()) for one in limits])

    async def remove(self, key: str) -> bool:
        """Let a limit be without bounds; False when it was not defined."""
        return await self._change([(check_key(key), ""), (f"slow:{key}", "")])

    async def bind(self, lane: str, binding: LaneLimit | None) -> None:
        """Say which limits the jobs of a lane need; None for none."""
        await self._change([(f"lane:{lane}", "" if binding is None else binding.to_json())])

    async def hold(self, key: str, until: datetime | timedelta | None, reason: str) -> bool:
        """Have a limit give nothing; False when it is held just so already.

        Args:
            until: an instant, or for how long by Redis's clock; None until :meth:`release`.
            reason: what people are told.

        Raises:
            LimitError: a naive datetime, a duration below a millisecond, or no limit's key.
        """
        return await self._change([(f"hold:{check_key(key)}", f"{_until(until)} {reason}")])

    async def release(self, key: str) -> bool:
        """Let a held limit go on; False when it was not held."""
        return await self._change([(f"hold:{check_key(key)}", "")])

    async def slow(self, key: str, factor: float) -> None:
        """Let only a share of a limit's rates and concurrency count, until it is restored.

        Args:
            factor: above 0, up to 1. It replaces an earlier one; they do not multiply.

        Raises:
            LimitError: another factor, or no limit's key.
        """
        if not 0 < factor <= 1:
            raise LimitError(f"factor: must be above 0 and at most 1, not {factor!r}")
        await self._change([(f"slow:{check_key(key)}", repr(float(factor)))])

    async def restore(self, key: str) -> bool:
        """Let all of a limit count again; False when it was not slowed down."""
        return await self._change([(f"slow:{check_key(key)}", "")])

    async def state(self, key: str, *, urgent: bool = False) -> LimitState:
        """A limit as it stands.

        Args:
            urgent: whether to count the reserve as room.
        """
        (state,) = await self._states([check_key(key)], urgent=urgent)
        return state

    async def all(self) -> list[LimitState]:
        """All limits that are defined, by key."""
        return await self._states([], urgent=False)

    async def states(self, keys: Sequence[str], *, urgent: bool = False) -> list[LimitState]:
        """Limits as they stand at one instant, in this order."""
        return await self._states(keys, urgent=urgent) if keys else []

    async def _states(self, keys: Sequence[str], *, urgent: bool) -> list[LimitState]:
        return await states(self._keys, keys, urgent=urgent).over(self._call)

    async def bindings(self) -> Mapping[str, LaneLimit]:
        """Which limits the jobs of each lane need; a lane that needs none is left out."""
        fields = await self._call("HGETALL", self._keys.limits)
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        found = ((name.decode(), octets) for name, octets in pairs)
        return {name.removeprefix("lane:"): _binding(octets) for name, octets in found if name.startswith("lane:")}

    async def _change(self, changes: Changes) -> bool:
        return await change(self._keys, changes).over(self._call)


def change(keys: LaneKeys, changes: Changes, *, keep: bool = False) -> Operation[bool]:
    """Change fields of the hash of limits; whether any was changed.

    Args:
        keep: leave fields that are there as they are.
    """
    arguments: list[Argument] = [keys.tag, "keep" if keep else "set"]
    for one in changes:
        arguments += one
    return Operation("limits_change", [keys.limits, keys.holds], arguments, any)


def states(keys: LaneKeys, names: Sequence[str], *, urgent: bool) -> Operation[list[LimitState]]:
    """Limits as they stand at one instant; all that are defined when none is named."""

    def read(reply: Sequence[Any]) -> list[LimitState]:
        return [_state(int(reply[0]), *reply[at : at + 9]) for at in range(1, len(reply), 9)]

    return Operation(
        "limits_state", [keys.limits, keys.buckets, keys.holds], [keys.tag, int(urgent), *names], read
    )


def declaration(limits: Iterable[Limit], bindings: Mapping[str, LaneLimit | None]) -> Changes:
    """All that a worker says of limits when it starts."""
    changes: Changes = [(one.key, one.to_json()) for one in limits]
    return changes + [(f"lane:{lane}", one.to_json() if one else "") for lane, one in bindings.items()]


def _until(until: datetime | timedelta | None) -> str:
    if until is None:
        return ""
    if isinstance(until, timedelta):
        if until < timedelta(milliseconds=1):
            raise LimitError(f"until: must be a millisecond at least, not {until!r}")
        return str(round(until / timedelta(milliseconds=1)))
    if until.utcoffset() is None:
        raise LimitError(f"until: must be a datetime with a time zone, not {until!r}")
    return f"@{round(until.timestamp() * 1000)}"


def _binding(octets: bytes) -> LaneLimit:
    """A binding that cannot be read gives nothing, which is no limit's doing."""
    try:
        told = orjson.loads(octets)
        return LaneLimit(tuple(told["keys"]), bool(told.get("urgent")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return LaneLimit()


def _state(  # noqa: PLR0913, PLR0917  as the script returns it
    now_ms: int,
    key: bytes,
    definition: bytes,
    pace: bytes,
    hold: bytes,
    room: int,
    free_at: int,
    blocked: int,
    running: int,
    unreadable: int,
) -> LimitState:
    name = key.decode()
    return LimitState(
        key=name,
        limit=_limit(name, definition),
        readable=not unreadable,
        pace=float(pace),
        held=read_hold(hold, now_ms=now_ms),
        room=None if room < 0 else room,
        free_in=None if free_at < 0 else timedelta(milliseconds=free_at - now_ms),
        blocked=blocked,
        running=running,
    )


def _limit(key: str, definition: bytes) -> Limit | None:
    try:
        return Limit.from_json(key, definition) if definition else None
    except LimitError:
        return None
