"""Jobs of one day: the live ones that Redis should know, those that have ended, those to hand over again."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from reports.connection_postgres import Connection

_FOLDER = Path(__file__).parent / "sql"
_LIVE, _FACTS, _MAKE_PENDING = (
    (_FOLDER / f"{name}.sql").read_text(encoding="utf-8") for name in ("live", "facts", "make_pending")
)
_HAS_ENDED = "SELECT momentus_ledger.has_ended($1)"


async def read_live(connection: Connection, day: date, *, after: str, limit: int) -> list[str]:
    """Return ids of the jobs of a day that have no end and are not pending, in order.

    Args:
        after: the last id of the previous page; "" for the first.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    return [row["id"] for row in await connection.fetch(_LIVE, day, after, limit)]


async def read_facts(connection: Connection, day: date, ids: Sequence[str]) -> Sequence[Any]:
    """Return id, state of the end ("" without one) and is_pending for those of the jobs that belong to a day.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    rows: Sequence[Any] = await connection.fetch(_FACTS, day, list(ids))
    return rows


async def make_pending(connection: Connection, day: date, ids: Sequence[str]) -> list[str]:
    """Have a relay hand over jobs of a day, except those that have ended; return those that were not pending.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    return [row["id"] for row in await connection.fetch(_MAKE_PENDING, day, list(ids))]


async def has_ended(connection: Connection, day: date) -> bool:
    """Return True if all jobs of a day have ended, pending ones too. Raises DATABASE_FAULTS."""
    return bool(await connection.fetchval(_HAS_ENDED, day))
