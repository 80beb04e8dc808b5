"""What the database says about changes: which marks wait, and whether anything at all has happened.

Two ways to know that a stored set is still true, both exact:

    marks     the triggers of ``ops reports install`` leave a mark in the transaction that changes rows. No mark
              is visible at an instant: all that was acknowledged before it is in what was stored
    snapshot  without triggers, or without the right to take up marks: ``pg_current_snapshot()`` is still the one
              that the set was computed from, so no writing transaction has ended anywhere in the server

Either is one prepared query of some 40 us, without a transaction around it. A cursor over mark ids would not do:
ids are handed out before the commit, and a late one is skipped. Neither would NOTIFY: it makes commits wait for
each other, and what nobody hears is lost.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from jobs.reports.boards import Board
from jobs.reports.triggers import INSTALLED, board_key, boards_by_source, trigger_name
from worker.reports.pace import Marks, Seen

LOOK_AGAIN = 30.0
"""Seconds for which what is installed is believed to be as it was; a floor refresh covers what happens between."""
_TIMEOUT = 5.0
_UNWATCHED = """
SELECT now() AS at, pg_current_snapshot()::text AS visible
"""
_WATCHED = """
SELECT
    now() AS at, pg_current_snapshot()::text AS visible,
    NULL AS board, NULL::timestamptz AS taken, NULL::timestamptz AS first, NULL::timestamptz AS last
UNION ALL
SELECT NULL, NULL, board, as_of, NULL, NULL FROM momentus.boards
UNION ALL
SELECT NULL, NULL, board, NULL, min(at), max(at) FROM momentus.dirty GROUP BY board
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is installed for a tenant.

    Attributes:
        watched: the boards of which every source leaves marks that this user may take up.
        missing: declared sources without a working trigger.
        usable: whether this user has the rights to take marks up.
    """

    watched: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    usable: bool = False


def judge_installation(tenant: str, boards: Mapping[str, Board], rows: Iterable[Any]) -> Installation:
    """What the rows of ``installed.sql`` mean for these boards; pure, for the worker and for a doctor."""
    usable, working = False, set[tuple[str, str]]()
    for row in rows:
        usable = usable or row["usable"]
        if row["enabled"] and row["name"] == trigger_name(tenant):
            working |= {(row["source"], key) for key in row["boards"]}
    wanted = {(source, key) for source, keys in boards_by_source(tenant, boards).items() for key in keys}
    lacking = wanted - working
    watched = {
        board.name
        for board in boards.values()
        if board.sources and board_key(tenant, board.name) not in {key for _, key in lacking}
    }
    missing = tuple(sorted({source for source, _ in lacking}))
    return Installation(frozenset(watched) if usable else frozenset(), missing, usable)


class Outbox:
    """The marks of one tenant, looked at on a connection of its own: a slow refresh delays no look."""

    def __init__(self, dsn: str, *, tenant: str, boards: Mapping[str, Board]) -> None:
        self._dsn = dsn
        self._tenant = tenant
        self._boards = boards
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._known = Installation()
        self._known_until = 0.0

    async def installation(self) -> Installation:
        """What is installed, as last seen within half a minute. Raises DATABASE_FAULTS."""
        if time.monotonic() >= self._known_until:
            pool = await self._connected()
            self._known = judge_installation(self._tenant, self._boards, await pool.fetch(INSTALLED))
            self._known_until = time.monotonic() + LOOK_AGAIN
        return self._known

    async def watches(self, board: str) -> bool:
        """Whether the database marks whatever changes this board. Raises DATABASE_FAULTS."""
        return board in (await self.installation()).watched

    async def look(self) -> Seen:
        """What is there now. Raises DATABASE_FAULTS."""
        watched = (await self.installation()).watched
        pool = await self._connected()
        try:
            rows = await pool.fetch(_WATCHED if watched else _UNWATCHED)
        except asyncpg.PostgresError:
            self._known_until = 0.0  # somebody removed the tables: see anew before believing anything
            raise
        clock, *boards = sorted(rows, key=lambda row: row["at"] is None)
        marks = {row["board"]: Marks(row["first"], row["last"]) for row in boards if row["first"] is not None}
        taken = {row["board"]: row["taken"] for row in boards if row["taken"] is not None}
        return Seen(clock["at"], clock["visible"], marks, taken)

    async def close(self) -> None:
        """Close the connection."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _connected(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=1,
                max_size=1,
                timeout=_TIMEOUT,
                command_timeout=_TIMEOUT,
                reset=_leave,
                server_settings={"application_name": "momentus-prober"},
            )
        return self._pool


async def _leave(_: object) -> None:
    """Nothing of a session is ever changed here, so nothing need be undone: that would cost more than the look."""
