"""The ledger's tables as the worker uses them: each method is one transaction, or part of the caller's.

Everything is done inside transactions, so that it works through a pooler in transaction mode.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from reports.connection_postgres import Connection, LazyPool
from worker.ledger.pending_scan import Place

_SQL = Path(__file__).parent / "sql"
_SECONDS = 10.0
"""Timeout of a statement; the server ends it too."""
_CONNECTIONS = 5
"""One each for relay, recorder, search, partitions and marks: no part waits for another. Opened when needed."""


@cache
def _statement(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class JobEnd:
    """The end of a job.

    Attributes:
        day: of its row, in days since 1970.
        state: see the table ``ends``.
        attempt: the last one; 0 if none was begun.
        reply: the server's final reply, the reason, or for a duplicate the id of the first job.
        at_ms: the instant.
    """

    day: int
    id: str
    state: str
    at_ms: int
    attempt: int = 0
    account: str = ""
    reply: str = field(default="", repr=False)
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class EffectNote:
    """An effect of an attempt that is about to begin.

    Attributes:
        token: of the attempt's lease.
        counted: the earlier attempt up to which effects that may have happened were counted as uncertain; 0: none.
    """

    day: int
    id: str
    attempt: int
    note: str = ""
    token: str = field(default="", repr=False)
    counted: int = 0


class LedgerTables:
    """The tables of one database. Every method raises DATABASE_FAULTS; nothing has changed then.

    Args:
        dsn: the address.
    """

    def __init__(self, dsn: str) -> None:
        self._pool = LazyPool(
            dsn, application="momentus-ledger", connections=_CONNECTIONS, command_timeout=_SECONDS
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, which ends with the block."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def write_effects(
        self, effects: Sequence[EffectNote]
    ) -> dict[str, Literal["written", "ended", "earlier"]]:
        """Note effects that are about to begin; return by id if that was done, or why it must not begin."""
        found: list[Any] = []
        async with self.transaction() as connection:
            await _count(connection, [replace(one, attempt=one.counted) for one in effects if one.counted])
            for day in sorted({one.day for one in effects}):
                rows = ((one.id, one.attempt, one.note, one.token) for one in effects if one.day == day)
                given = _columns(rows)
                found += await connection.fetch(_statement("write_effects"), day, *given)
        return {
            row["id"]: "ended" if row["has_ended"] else "written" if row["is_written"] else "earlier"
            for row in found
        }

    async def count_effects(self, effects: Sequence[EffectNote]) -> None:
        """Note that effects of these attempts and of earlier ones were counted as uncertain."""
        async with self.transaction() as connection:
            await _count(connection, effects)

    async def remove_effects(self, effects: Sequence[EffectNote]) -> None:
        """Remove notes of effects that did not happen."""
        async with self.transaction() as connection:
            for day in sorted({one.day for one in effects}):
                given = _columns((one.id, one.attempt, one.token) for one in effects if one.day == day)
                await connection.execute(_statement("remove_effects"), day, *given)


async def copy_effects(connection: Connection, effects: Sequence[EffectNote]) -> None:
    """Note effects that Redis knew of, except those already noted."""
    given = _columns((one.day, one.id, one.attempt, one.note) for one in effects)
    await connection.execute(_statement("copy_effects"), *given)


async def _count(connection: Connection, effects: Sequence[EffectNote]) -> None:
    for day in sorted({one.day for one in effects}):
        given = _columns((one.id, one.attempt) for one in effects if one.day == day)
        await connection.execute(_statement("count_effects"), day, *given)


async def lock_pending(
    connection: Connection, *, limit: int, after: Place
) -> Sequence[tuple[Place, str, int | None]]:
    """Lock pending jobs until the transaction ends; return places, ids and days (None: an invalid day)."""
    found = await connection.fetch(_statement("lock_pending"), limit, after)
    return [(row["place"], row["id"], row["day"]) for row in found]


async def read_jobs(connection: Connection, found: Sequence[tuple[str, int]]) -> Sequence[Any]:
    """Return the rows of jobs in this order; see ``sql/read_jobs.sql``."""
    rows: dict[tuple[str, int], Any] = {}
    for day in {day for _, day in found}:
        ids = [job_id for job_id, its_day in found if its_day == day]
        of_day = await connection.fetch(_statement("read_jobs"), ids, day)
        rows.update({(row["asked_id"], day): row for row in of_day})
    return [rows[one] for one in found]


async def remove_pending(connection: Connection, ids: Sequence[str]) -> None:
    """Remove pending jobs. Waits for a relay that has locked one of them."""
    await connection.execute(_statement("remove_pending"), list(ids))


async def write_ends(connection: Connection, ends: Sequence[JobEnd]) -> None:
    """Write ends; a later one replaces that of a dead job, and no other."""
    rows = (
        (one.id, one.day, one.state, one.attempt, one.account, one.reply, one.uncertain, one.at_ms) for one in ends
    )
    await connection.execute(_statement("write_ends"), *_shared_columns(rows))


def _shared_columns(rows: Any) -> list[list[Any]]:  # noqa: ANN401  as below
    """Return columns: first all ids, then the others, each as a single value if all rows share it.

    The driver spends more on each value of a list than on everything else in a row.
    """
    ids, *others = _columns(rows)
    return [ids, *(one[:1] if one.count(one[0]) == len(one) else one for one in others)]


def _columns(rows: Any) -> list[list[Any]]:  # noqa: ANN401  tuples of any kinds
    return [list(column) for column in zip(*rows, strict=True)]
