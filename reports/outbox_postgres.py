"""Changes as the database records them: which marks wait, and whether any transaction has written.

There are two proofs that a stored set is still true, both exact while the catalogue's digest is the one with
which the set was computed (catalogue_postgres.py):

    marks     the triggers of ``ops reports install`` leave a mark in the transaction that changes rows. If no
              mark is visible at an instant, every change acknowledged before it is in the stored set
    snapshot  without triggers, or without the right to take up marks: ``pg_current_snapshot()`` is still the one
              that the set was computed from, so no writing transaction has ended anywhere in the server

A standby offers neither: its snapshots list no transactions in progress, and no trigger runs there. It has only
the time of the last commit that it has replayed.

Either is one prepared query of some 40 us, without a transaction around it. A cursor over mark ids would not do:
ids are assigned before the commit, and a late one would be skipped. Nor would NOTIFY: it makes commits wait for
each other, and a notification without a listener is lost.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import asyncpg

from clocks import ClockReading, running_us
from reports.boards import Board
from reports.catalogue_postgres import Catalogue, read_catalogue
from reports.connection_postgres import LazyPool
from reports.document import microseconds
from reports.pace import MarkTimes, Probe
from reports.source_postgres import REPLAYED

LOOK_AGAIN = 30.0
"""Seconds for which a worker that is not the prober trusts the catalogue it has read."""
REFUSED_FOR = 900.0
"""Seconds for which marks are not taken up after the database refused, whatever its catalogue says."""
_ASK_SHARE = 0.01
"""Largest part of the time for catalogue queries; boards without a current answer are not proved."""
_ASK_AHEAD = 0.5
"""Seconds of catalogue queries that may be used ahead."""
_TIMEOUT = 5.0
_NOW = f"""{REPLAYED},
    now() AS at, pg_current_snapshot()::text AS visible, greatest(
        pg_postmaster_start_time(),
        CASE WHEN current_setting('server_version_num')::int >= 150000
            THEN pg_stat_get_bgwriter_stat_reset_time() END
    ) AS since
"""
_WATCHED = f"""{_NOW},
    NULL AS board, NULL::timestamptz AS taken, NULL::timestamptz AS first, NULL::timestamptz AS last
UNION ALL
SELECT NULL, NULL, NULL, NULL, board, as_of, NULL, NULL FROM momentus.boards
UNION ALL
SELECT NULL, NULL, NULL, NULL, board, NULL, min(at), max(at) FROM momentus.dirty GROUP BY board
"""  # noqa: S608  constants of this module


class Outbox:
    """Marks of one tenant, read on a separate connection so that a slow refresh does not delay the prober."""

    def __init__(self, dsn: str, *, tenant: str, boards: Mapping[str, Board]) -> None:
        self._tenant = tenant
        self._boards = boards
        self._pool = LazyPool(
            dsn, application="momentus-prober", connections=1, command_timeout=_TIMEOUT, reset=_leave
        )
        self._known = Catalogue()
        self._known_until = 0.0
        self._asked = 0.0
        self._asking = 0.0
        self._refusal = ""
        self._refused_until = 0.0

    async def catalogue(self) -> Catalogue:
        """Return the catalogue, at most 30 seconds old. Raises DATABASE_FAULTS."""
        if time.monotonic() >= self._known_until:
            await self._ask()
        return self._known

    async def watches(self, board: str) -> bool:
        """Return True if every change of this board leaves a mark. Raises DATABASE_FAULTS."""
        return board in (await self.catalogue()).watched

    def forget_catalogue(self) -> None:
        """Discard the catalogue, so that the next use queries it again."""
        self._known_until = 0.0

    def refuse_marks(self, why: str) -> None:
        """Treat no board as watched for 15 minutes, because the database refused to let marks be taken up."""
        self._refusal, self._refused_until = why, time.monotonic() + REFUSED_FOR
        self.forget_catalogue()

    async def probe_database(self) -> Probe:
        """Probe the database. Raises DATABASE_FAULTS.

        The catalogue is queried after the marks: its digest is of the marks' state, or of a later one.
        """
        watched = (await self.catalogue()).watched
        async with self._pool.connection() as connection:
            asked_us = running_us()
            try:
                rows = await connection.fetch(_WATCHED if watched else _NOW)
            except asyncpg.PostgresError:
                self.forget_catalogue()  # the tables may have been removed: query the catalogue again
                raise
            heard_us = running_us()
        clock, *boards = sorted(rows, key=lambda row: row["at"] is None)
        marks = {row["board"]: MarkTimes(row["first"], row["last"]) for row in boards if row["first"] is not None}
        taken = {row["board"]: row["taken"] for row in boards if row["taken"] is not None}
        reading = ClockReading(microseconds(clock["at"]), asked_us, heard_us)
        seen = Probe(clock["at"], clock["visible"], marks, taken, replayed=clock["replayed"], reading=reading)
        return replace(seen, catalogue=await self._digests(seen, clock["since"]))

    async def _digests(self, seen: Probe, since: datetime) -> dict[str, str] | None:
        """Return the digests by board for this probe; None on a standby or if the query limit is used up."""
        known = (self._known.visible, self._known.standby, self._known.since)
        if known != (seen.visible, seen.replayed is not None, since):
            if self._asking - (time.monotonic() - self._asked) * _ASK_SHARE > _ASK_AHEAD:
                return None
            await self._ask()
        if self._known.standby:
            return None
        return {name: proof.digest for name, proof in self._known.proofs.items() if proof.digest is not None}

    async def _ask(self) -> None:
        async with self._pool.connection() as connection:
            began = time.monotonic()
            self._known = await read_catalogue(connection.fetch, self._tenant, self._boards)
        ended = time.monotonic()
        if ended < self._refused_until:
            self._known = self._known.without_marks(self._refusal)
        self._asking = max(0.0, self._asking - (began - self._asked) * _ASK_SHARE) + ended - began
        self._asked, self._known_until = ended, ended + LOOK_AGAIN

    async def close(self) -> None:
        """Close the connection."""
        await self._pool.close()


async def _leave(_: object) -> None:
    """Skip the reset of a returned connection: its session never changes, and a reset costs more than a probe."""
