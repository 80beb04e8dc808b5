"""Boards that wait for their tables: on a fresh database there is nothing to compute, which is not a failure.

A board waits while none of its tables exists and none of its reports is stored. One table that is missing beside
others is a failure: a wrong name, or a migration that removed it. The prober requests no refresh of a board that
waits, and looks at the catalogue each time a transaction has changed the database.

In the key ``snapshot:`` of each report ``_waits`` has the tables, and ``_since`` when it was first declared
(microseconds, Redis's clock). The first set that is stored replaces both.
"""

from collections.abc import Collection, Mapping, Sequence

import orjson
from redis.asyncio import Redis

from reports.boards import Board
from reports.keys import WAITS, snapshot
from reports.pace import KnownSet


def awaited_tables(board: Board, known: Mapping[str, KnownSet], absent: Collection[str]) -> tuple[str, ...]:
    """Return the tables for which a board waits; empty if it does not wait.

    Args:
        known: what is stored, by report.
        absent: tables that do not exist.
    """
    if any(known[report.name].stored for report in board.reports):
        return ()
    return board.sources if set(board.sources) <= set(absent) else ()


class WaitingReports:
    """The notes in Redis about reports of a tenant that wait for their tables."""

    def __init__(self, redis: Redis, *, tenant: str) -> None:
        self._redis = redis
        self._tenant = tenant

    async def note_tables(self, reports: Sequence[str], tables: Sequence[str]) -> None:
        """Note that reports wait for these tables; earlier refresh errors no longer count."""
        text = orjson.dumps(tables).decode()
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in (snapshot(self._tenant, report) for report in reports):
                pipe.hset(key, WAITS, text)
                pipe.hdel(key, "_error")
            await pipe.execute()

    async def end_waiting(self, reports: Sequence[str]) -> None:
        """Note that reports no longer wait."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for report in reports:
                pipe.hdel(snapshot(self._tenant, report), WAITS)
            await pipe.execute()
