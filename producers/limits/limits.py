"""Limits of one lane group in Redis: definition, hold, slowdown and state.

Every change takes effect with the next claim of any worker, and waiting workers are woken at once. An undefined
limit permits any number of jobs, but may be held.

Every change may be repeated. A definition that cannot be read permits no job until it is defined again.
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
"""Fields of the hash of limits with their new values; ``""`` removes the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """State of a limit at one instant.

    Attributes:
        limit: definition of the limit or of its family; None without a readable one.
        readable: False if the limit permits no job because its stored definition cannot be read.
        pace: share of the limit that applies now; 1 if it is not slowed down.
        held: the limit's hold, or None.
        room: number of jobs that may start now; None for any number.
        free_in: time until one more job may start; None if that depends on the end of a job or of a hold.
        blocked: number of jobs that name the limit and wait for it.
        running: number of jobs that hold a place; counted for limits with a concurrency.
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
    """Limits of a lane group.

    Args:
        client: a link to the group's server, or a redis-py asyncio client.
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
        """Define limits, replacing those with the same keys. Tokens used before stay used."""
        await self._change([(one.key, one.to_json()) for one in limits])

    async def remove(self, key: str) -> bool:
        """Remove a limit's definition. Returns False if it was not defined."""
        return await self._change([(check_key(key), ""), (f"slow:{key}", "")])

    async def bind(self, lane: str, binding: LaneLimit | None) -> None:
        """Bind a lane to limits; None removes its binding."""
        await self._change([(f"lane:{lane}", "" if binding is None else binding.to_json())])

    async def hold(self, key: str, until: datetime | timedelta | None, reason: str) -> bool:
        """Hold a limit: no job under it starts. Returns False if it already had the same hold.

        Args:
            until: an instant, or a duration by Redis's clock; None: until :meth:`release`.
            reason: text shown to operators.

        Raises:
            LimitError: a naive datetime, a duration below a millisecond, or an invalid key.
        """
        return await self._change([(f"hold:{check_key(key)}", f"{_until(until)} {reason}")])

    async def release(self, key: str) -> bool:
        """Release a held limit. Returns False if it was not held."""
        return await self._change([(f"hold:{check_key(key)}", "")])

    async def slow(self, key: str, factor: float) -> None:
        """Reduce a limit's rates and concurrency to a fraction, until :meth:`restore`.

        Args:
            factor: the share, above 0 and at most 1. It replaces an earlier factor; factors do not multiply.

        Raises:
            LimitError: the factor is out of range, or the key is invalid.
        """
        if not 0 < factor <= 1:
            raise LimitError(f"factor: must be above 0 and at most 1, not {factor!r}")
        await self._change([(f"slow:{check_key(key)}", repr(float(factor)))])

    async def restore(self, key: str) -> bool:
        """Restore a slowed limit to its full rates. Returns False if it was not slowed."""
        return await self._change([(f"slow:{check_key(key)}", "")])

    async def state(self, key: str, *, urgent: bool = False) -> LimitState:
        """Return the state of a limit.

        Args:
            urgent: count the reserve as room.
        """
        (state,) = await self._states([check_key(key)], urgent=urgent)
        return state

    async def all(self) -> list[LimitState]:
        """Return the states of all defined limits, by key."""
        return await self._states([], urgent=False)

    async def states(self, keys: Sequence[str], *, urgent: bool = False) -> list[LimitState]:
        """Return the states of several limits at one instant, in this order."""
        return await self._states(keys, urgent=urgent) if keys else []

    async def _states(self, keys: Sequence[str], *, urgent: bool) -> list[LimitState]:
        return await read_states(self._keys, keys, urgent=urgent).run(self._call)

    async def bindings(self) -> Mapping[str, LaneLimit]:
        """Return the bindings of all lanes that have one."""
        fields = await self._call("HGETALL", self._keys.limits)
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        named = ((name.decode(), encoded) for name, encoded in pairs)
        return {name.removeprefix("lane:"): _binding(value) for name, value in named if name.startswith("lane:")}

    async def _change(self, changes: Changes) -> bool:
        return await change_limits(self._keys, changes).run(self._call)


def change_limits(keys: LaneKeys, changes: Changes, *, keep: bool = False) -> Operation[bool]:
    """Change fields of the hash of limits; the result is True if any changed.

    Args:
        keep: leave existing fields unchanged.
    """
    arguments: list[Argument] = [keys.tag, "keep" if keep else "set"]
    for one in changes:
        arguments += one
    return Operation("limits_change", [keys.limits, keys.holds], arguments, any)


def read_states(keys: LaneKeys, names: Sequence[str], *, urgent: bool) -> Operation[list[LimitState]]:
    """Read the states of limits at one instant; of all defined limits if no name is given."""

    def read(reply: Sequence[Any]) -> list[LimitState]:
        return [_state(int(reply[0]), *reply[at : at + 9]) for at in range(1, len(reply), 9)]

    return Operation(
        "limits_state", [keys.limits, keys.buckets, keys.holds], [keys.tag, int(urgent), *names], read
    )


def declaration(limits: Iterable[Limit], bindings: Mapping[str, LaneLimit | None]) -> Changes:
    """Return the changes that a worker makes at its start to declare its limits and bindings."""
    changes: Changes = [(one.key, one.to_json()) for one in limits]
    return changes + [(f"lane:{lane}", one.to_json() if one else "") for lane, one in bindings.items()]


def _until(until: datetime | timedelta | None) -> str:
    if until is None:
        return ""
    if isinstance(until, timedelta):
        if until < timedelta(milliseconds=1):
            raise LimitError(f"until: must be at least a millisecond, not {until!r}")
        return str(round(until / timedelta(milliseconds=1)))
    if until.utcoffset() is None:
        raise LimitError(f"until: must be a datetime with a time zone, not {until!r}")
    return f"@{round(until.timestamp() * 1000)}"


def _binding(encoded: bytes) -> LaneLimit:
    """Decode a binding; an empty one if it cannot be read, because claims report that themselves."""
    try:
        fields = orjson.loads(encoded)
        return LaneLimit(tuple(fields["keys"]), bool(fields.get("urgent")))
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
