"""Live jobs of one day: which of them Redis should know, and those that a relay is to hand over again."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from reports.connection_postgres import Connection

_FOLDER = Path(__file__).parent / "sql"
_LIVE, _MAKE_PENDING = ((_FOLDER / f"{name}.sql").read_text(encoding="utf-8") for name in ("live", "make_pending"))
_HAS_ENDED = "SELECT momentus_ledger.has_ended($1)"


async def read_live(connection: Connection, day: date, *, after: str, limit: int) -> list[str]:
    """Return ids of jobs of a day that have no end and are not pending, in their order.

    Args:
        after: the last id of the page before; "" for the first.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    return [row["id"] for row in await connection.fetch(_LIVE, day, after, limit)]


async def make_pending(connection: Connection, day: date, ids: Sequence[str]) -> list[str]:
    """Have a relay hand over jobs of a day, except those that have ended; return those that were not pending.

    Raises:
        DATABASE_FAULTS: as above.
    """
    return [row["id"] for row in await connection.fetch(_MAKE_PENDING, day, list(ids))]


async def has_ended(connection: Connection, day: date) -> bool:
    """Return True if all jobs of a day have ended, pending ones too. Raises DATABASE_FAULTS."""
    return bool(await connection.fetchval(_HAS_ENDED, day))
