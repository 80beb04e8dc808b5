"""Servers with a ledger, and what they and this process have used of a processor."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import asyncpg
from redis.asyncio import Redis

from bench.reports_day.work_postgres import Work
from ledger import schema

_PLAIN = """
CREATE TABLE IF NOT EXISTS plain (
    id text PRIMARY KEY, lane text NOT NULL, kind text NOT NULL, payload bytea NOT NULL
)
"""
_EMPTY = (
    "TRUNCATE plain, momentus_ledger.jobs, momentus_ledger.pending, momentus_ledger.effects, momentus_ledger.ends"
)


_DAY = """
DO $$
DECLARE
    past CONSTANT date := (now() AT TIME ZONE 'UTC')::date - %DAYS%;
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['jobs', 'effects', 'ends'] LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS momentus_ledger.%I PARTITION OF momentus_ledger.%I '
            'FOR VALUES FROM (%L) TO (%L)',
            parent || to_char(past, '_YYYY_MM_DD'), parent, past, past + 1
        );
    END LOOP;
END $$
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are, and connections of the measurement's own."""

    dsn: str
    url: str
    database: Any
    redis: Redis

    async def empty(self) -> None:
        """Remove all rows and keys, and write a checkpoint, so that none falls into what comes next by itself."""
        await self.database.execute(_EMPTY)
        await self.database.execute("CHECKPOINT")
        await self.redis.flushall()

    async def wal(self) -> int:
        """Bytes of WAL so far."""
        return int(await self.database.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


@asynccontextmanager
async def connected(dsn: str, url: str, *, days: int = 0) -> AsyncIterator[Servers]:
    """Connect to servers that run; install a ledger, and a plain table beside it, if there is none.

    Args:
        days: past ones that have partitions, empty ones, as in a ledger whose record is kept for so long.
    """
    async with Redis.from_url(url) as redis:
        database = await asyncpg.connect(dsn)
        await schema.install(database)
        await database.execute(_PLAIN)
        for day in range(2, days + 2):
            await database.execute(_DAY.replace("%DAYS%", str(day)))
        yield Servers(dsn, url, database, redis)
        await database.close()


class Processors:
    """Microseconds of a processor used in a block: by this process, the clients' backends, and Redis.

    Connections that are counted must be open before the block begins.
    """

    def __init__(self, servers: Servers) -> None:
        self._redis = servers.redis
        self._work = Work(servers.dsn)
        self._own = self._valkey = self._clock = 0.0
        self.own_us = self.postgres_us = self.redis_us = self.seconds = 0.0

    async def __aenter__(self) -> Self:
        await self._work.__aenter__()
        self._valkey = await self._redis_seconds()
        await self._work.begin()
        self._own, self._clock = time.process_time(), time.perf_counter()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._clock
        self.own_us = (time.process_time() - self._own) * 1e6
        self.postgres_us = await self._work.ms() * 1e3
        self.redis_us = (await self._redis_seconds() - self._valkey) * 1e6
        await self._work.__aexit__(*error)

    @property
    def all_us(self) -> float:
        """Of all three."""
        return self.own_us + self.postgres_us + self.redis_us

    async def _redis_seconds(self) -> float:
        used = await self._redis.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])
