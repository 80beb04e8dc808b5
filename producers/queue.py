"""The queue as a producer sees it: two scripts in Redis, and Redis's faults in this room's words."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .errors import NotEnqueued, QueueFull, RedisUnavailable
from .keys import LaneKeys

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    BusyLoadingError,
    MasterDownError,
    ClusterDownError,
)
_AWAY_CODES = ("MISCONF", "NOREPLICAS", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "READONLY")


@cache
def script(name: str) -> str:
    """The source of a script of this room."""
    return (Path(__file__).parent / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Entry:
    """One job on its way in.

    Attributes:
        key: SHA-256 of the caller's key in hex, or ``""``.
        fingerprint: SHA-256 of the content in hex; all fingerprints have one length.
    """

    id: str
    payload: bytes
    delay_ms: int
    key: str = ""
    fingerprint: str = ""
    window_ms: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """The queue's word on one entry: the id that stands, and whether this call made it."""

    id: str
    new: bool


class ConflictingKey(Exception):
    """An entry's key stands for other content."""

    def __init__(self, index: int, known_id: str) -> None:
        super().__init__(index, known_id)
        self.index = index
        self.known_id = known_id


class Queue:
    """Runs the scripts. One round trip a call, whatever the number of entries."""

    def __init__(self, redis: Redis, *, budget: float) -> None:
        self._redis = redis
        self._budget = budget
        self._enqueue = redis.register_script(script("enqueue"))
        self._enqueue_latest = redis.register_script(script("enqueue_latest"))

    @asynccontextmanager
    async def within_budget(self) -> AsyncIterator[None]:
        """Redis's answer in time, or a typed error in time: never a hang.

        May be nested, to give several round trips one budget.
        """
        try:
            async with asyncio.timeout(self._budget):
                yield
        except RedisError as error:
            raise _in_our_words(error) from error
        except (TimeoutError, OSError) as error:
            raise RedisUnavailable(
                f"No answer from Redis within {self._budget * 1000:.0f} ms; the job may or may not be queued: "
                "send it again with the same key"
            ) from error

    async def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none.

        Raises:
            ConflictingKey: a key stands for other content; nothing was queued.
            NotEnqueued: Redis did not take them within the budget.
        """
        keys = LaneKeys(lane)
        arguments: list[str | bytes | int] = [lane, keys.tag]
        for entry in entries:
            arguments += [
                entry.id,
                entry.payload,
                entry.delay_ms,
                entry.key,
                entry.fingerprint,
                entry.window_ms,
            ]
        async with self.within_budget():
            reply = await self._enqueue(keys=[keys.queue, keys.wake, keys.counters], args=arguments)
        if reply[0] == b"conflict":
            raise ConflictingKey(reply[1], reply[2].decode())
        pairs = zip(reply[1::2], reply[2::2], strict=True)
        return [Taken(known.decode(), state == b"queued") for state, known in pairs]

    async def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; True when the id was not waiting yet.

        Raises:
            NotEnqueued: Redis did not take it within the budget.
        """
        keys = LaneKeys(lane)
        names = [keys.queue, keys.wake, keys.counters, keys.leases, keys.next, keys.dead]
        arguments: list[str | bytes | int] = [lane, keys.tag, entry.id, entry.payload, entry.delay_ms]
        async with self.within_budget():
            state = await self._enqueue_latest(keys=names, args=arguments)
        return bool(state != b"duplicate")

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        async with self.within_budget():
            value = await self._redis.hget(key, field)  # type: ignore[misc]
            there = value is not None or bool(await self._redis.exists(key))
        return there, value


def _in_our_words(error: RedisError) -> NotEnqueued:
    if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM"):
        return QueueFull("Redis is at its memory limit (maxmemory); let the workers drain it or raise the limit")
    if isinstance(error, _AWAY) or (isinstance(error, ResponseError) and str(error).startswith(_AWAY_CODES)):
        return RedisUnavailable(f"Redis cannot take jobs now: {error}; send it again with the same key")
    return NotEnqueued(f"Redis refused the call: {error}; check the server, its version and the user's rights")
