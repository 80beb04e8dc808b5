"""Slow counts, made every five minutes alongside the fleet's page: both stores of the ledger, and sessions.

The stores are compared job by job, as `ops ledger check` does. Sessions are counted by a walk over all keys, a
thousand at a time with pauses, since no list of them is kept. After a fault the earlier counts stay, with their
age on the page, and the fault is printed on standard error once until it changes.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, get_args

from redis.asyncio import Redis
from redis.exceptions import RedisError

import background
from ledger.conservation import Conservation, Fault, compare_stores
from metrics.readings import Readings
from ops.command import CommandRefused, Tools
from ops.command_parser import terminal_text
from ops.database_postgres import open_database
from ops.ledger.records import demand_ledger

_EVERY: Final = 300.0
_PAGE: Final = 1000
_PAUSE: Final = 0.01
"""Seconds between two pages of keys, so that Redis answers others meanwhile."""
_SESSIONS: Final = "momentus:{s:*}:session:*"


class SlowCounts:
    """The latest counts, and the task that makes them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._conservation: Conservation | None = None
        self._compared_at = 0.0
        self._sessions: int | None = None
        self._told = ""

    @asynccontextmanager
    async def keep_counting(self) -> AsyncIterator[None]:
        """Count in the background until the end of the block."""
        counting = background.start_task("slow counts", self._run)
        try:
            yield
        finally:
            await background.stop_tasks(counting)

    def collect(self, readings: Readings) -> None:
        """Add the latest counts; those that were never made have no values."""
        if self._sessions is not None:
            readings.add("momentus_sessions", self._sessions)
        if self._conservation is None:
            return
        found = self._conservation
        readings.add("momentus_ledger_jobs", found.jobs)
        readings.add("momentus_ledger_ended_jobs", found.ended)
        readings.add("momentus_ledger_pending_jobs", found.pending)
        readings.add("momentus_ledger_compared_timestamp_seconds", self._compared_at)
        faults = Counter(one.fault for one in found.disagreements)
        for fault in get_args(Fault):
            readings.add("momentus_ledger_disagreements", faults[fault], fault)

    async def _run(self) -> None:
        while True:
            await self._tell_fault(self._compare_stores)
            await self._tell_fault(self._count_sessions)
            await asyncio.sleep(_EVERY)

    async def _tell_fault(self, count: Callable[[], Awaitable[None]]) -> None:
        try:
            await count()
        except (CommandRefused, RedisError, OSError) as error:
            if (text := str(error) or type(error).__name__) != self._told:
                self._told = text
                sys.stderr.write(f"ops: {terminal_text(text)}\n")

    async def _compare_stores(self) -> None:
        if not self._tools.postgres_dsn:
            return
        async with open_database(self._tools) as connection:
            await demand_ledger(connection)
            self._conservation = await compare_stores(connection, self._tools.redis)
        self._compared_at = time.time()

    async def _count_sessions(self) -> None:
        self._sessions = await count_keys(self._tools.redis, _SESSIONS)


async def count_keys(redis: Redis, pattern: str) -> int:
    """Count the keys that match a pattern, one page at a time. Raises RedisError, OSError."""
    found = 0
    async for _ in redis.scan_iter(match=pattern, count=_PAGE):  # a key may come twice while Redis grows its table
        found += 1
        if not found % _PAGE:
            await asyncio.sleep(_PAUSE)
    return found
