"""The look into Redis: one HMGET per answer, bounded in time.

Redis is asked for 50 ms at most; then the answer is StoreUnavailable, while the command ends by itself
(`sessions.deadline` says why it is not cancelled). Connections are limited, so a stalled Redis cannot pile up
work here. Nothing is retried: the client is told, and the next request finds out anew.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from reader.snapshot import Snapshot, decode, fields_of
from sessions.deadline import within

DEADLINE = timedelta(milliseconds=50)
CONNECTIONS = 32

Reply = TypeVar("Reply")


class StoreUnavailable(Exception):
    """Redis did not answer in time, or not as it should."""


def connect(url: str) -> Redis:
    """A client for `Store`; connects at first use. Raises ValueError for an address that is none."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=DEADLINE.total_seconds(),
        socket_timeout=1,
        socket_connect_timeout=1,
    )
    return Redis.from_pool(pool)


class Store:
    """The reports of one tenant, read only."""

    def __init__(self, redis: Redis, *, tenant: str, deadline: timedelta = DEADLINE) -> None:
        self._redis = redis
        self._tenant = tenant
        self._deadline = deadline

    async def snapshot(self, report: str, scope: int) -> Snapshot:
        """All that is known of one scope, of one instant. Raises StoreUnavailable, SnapshotUnreadable."""
        key = f"momentus:{{reports}}:snapshot:{self._tenant}:{report}"
        values = self._redis.hmget(key, fields_of(scope))
        return decode(await self._ask(cast("Awaitable[list[bytes | None]]", values)))

    async def declared(self, report: str) -> bool:
        """Whether somebody means to compute this report. Raises StoreUnavailable."""
        known = self._redis.hexists(f"momentus:{{reports}}:catalogue:{self._tenant}", report)
        return await self._ask(cast("Awaitable[bool]", known))

    async def ping(self) -> None:
        """Raises StoreUnavailable unless Redis answers in time."""
        await self._ask(self._redis.ping())

    async def _ask(self, command: Awaitable[Reply]) -> Reply:
        try:
            return await within(self._deadline, command)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"Redis did not answer: {error}") from error
