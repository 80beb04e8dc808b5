"""The queue as a producer sees it: two scripts in Redis, and Redis's faults in this room's words."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
from .link import Link
from .script import Script

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
    """Runs the scripts. One round trip a call, whatever the number of entries.

    Args:
        client: a link of our own, or a redis-py client, which is slower and may be shared with other uses.
        budget: seconds until a call gives up.
    """

    def __init__(self, client: Link | Redis, *, budget: float) -> None:
        self._client = client
        self._call: Callable[..., Awaitable[Any]] = (
            client.call if isinstance(client, Link) else client.execute_command
        )
        self._budget = budget
        self._enqueue = Script(script("enqueue"))
        self._enqueue_latest = Script(script("enqueue_latest"))

    async def close(self) -> None:
        """Close the connections."""
        await (self._client.close() if isinstance(self._client, Link) else self._client.aclose())

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
            if isinstance(self._client, Link):
                self._client.drop()  # nobody else shall wait behind a server that does not answer
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
            reply = await self._enqueue.run(self._call, [keys.queue, keys.wake, keys.counters], arguments)
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
            state = await self._enqueue_latest.run(self._call, names, arguments)
        return bool(state != b"duplicate")

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        async with self.within_budget():
            value = await self._call("HGET", key, field)
            there = value is not None or bool(await self._call("EXISTS", key))
        return there, value


def _in_our_words(error: RedisError) -> NotEnqueued:
    if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM"):
        return QueueFull("Redis is at its memory limit (maxmemory); let the workers drain it or raise the limit")
    if isinstance(error, _AWAY) or (isinstance(error, ResponseError) and str(error).startswith(_AWAY_CODES)):
        return RedisUnavailable(f"Redis cannot take jobs now: {error}; send it again with the same key")
    return NotEnqueued(f"Redis refused the call: {error}; check the server, its version and the user's rights")
