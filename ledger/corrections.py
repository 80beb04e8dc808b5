"""Corrections of the ledger by an operator: a dead job is live again, a staged one is cancelled.

Each function is a part of the caller's transaction, in which the caller changes Redis too. One that revives
excludes recorders, lest the end that stands in Redis until then be written afterwards.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from reports.connection_postgres import Connection

_FOLDER = Path(__file__).parent / "sql"
_REMOVE_DEATHS, _LOCK_STAGED, _CANCEL_STAGED = (
    (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    for name in ("remove_deaths", "lock_staged", "cancel_staged")
)
_WAIT = "SET LOCAL lock_timeout = '1s'"


async def remove_deaths(connection: Connection, job_ids: Sequence[str]) -> dict[str, tuple[date, str]]:
    """Make jobs live that ended as dead and whose content is still there; return their days and lanes by id.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    found = await connection.fetch(_REMOVE_DEATHS, list(job_ids))
    return {row["id"]: (row["day"], row["lane"]) for row in found}


async def lock_staged(connection: Connection, job_id: str) -> tuple[date, str] | None:
    """Keep relays from a staged job until the transaction ends; return its day and lane, None if it is not staged.

    Raises:
        DATABASE_FAULTS: the database refused, or a relay had the job for more than a second.
    """
    await connection.execute(_WAIT)
    row = await connection.fetchrow(_LOCK_STAGED, job_id)
    return None if row is None else (row["day"], row["lane"])


async def cancel_staged(connection: Connection, job_id: str, day: date) -> None:
    """End a job that :func:`lock_staged` has locked as cancelled. Raises DATABASE_FAULTS."""
    await connection.execute(_CANCEL_STAGED, job_id, day)
