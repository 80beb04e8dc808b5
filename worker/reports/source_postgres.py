"""The database's side of a refresh: one read-only, repeatable-read transaction per refresh.

``as_of`` is ``now()`` of that transaction. Its snapshot is taken at or after that instant, so every write
that was acknowledged before ``as_of`` is in the numbers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from jobs.reports import Report
from worker.reports.day import Day
from worker.reports.rollup import Row
from worker.reports.tree import Node

DATABASE_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What a refresh may meet here: bad SQL, a timeout, a lost connection."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One database state, and the instant it is true for."""

    as_of: datetime
    visible: str
    """``pg_current_snapshot()``: which transactions are in it."""
    _connection: Any

    async def tree(self, report: Report) -> list[Node]:
        """The nodes of the report's tree."""
        rows = await self._connection.fetch(report.tree)
        return [Node(row["id"], row["parent_id"], row["name"], row["kind"]) for row in rows]

    async def rows(self, report: Report, *, now: datetime, day: Day) -> list[Row]:
        """The report's direct rows."""
        values = {"now": now, "day_start": day.start, "day_end": day.end}
        arguments = [values[name] for name in report.parameters]
        return [dict(row) for row in await self._connection.fetch(report.sql, *arguments)]


class Source:
    """Connections for refreshes, made when first needed.

    Args:
        dsn: of a user with SELECT on the report's tables; nothing more is needed.
        statement_timeout: after which the server ends a query.
    """

    def __init__(self, dsn: str, *, statement_timeout: timedelta) -> None:
        self._dsn = dsn
        self._timeout_ms = round(statement_timeout / timedelta(milliseconds=1))
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """A transaction in which every query sees the same state."""
        pool = await self._connected()
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            first = await connection.fetchrow("SELECT now() AS as_of, pg_current_snapshot()::text AS visible")
            if first is None:  # pragma: no cover  a SELECT without FROM has one row
                raise asyncpg.InterfaceError("SELECT now() returned no row")
            yield Snapshot(first["as_of"], first["visible"], connection)

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _connected(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=1,
                max_size=2,
                server_settings={
                    "application_name": "momentus-refresh",
                    "statement_timeout": str(self._timeout_ms),
                    "idle_in_transaction_session_timeout": str(self._timeout_ms),
                },
            )
        return self._pool
