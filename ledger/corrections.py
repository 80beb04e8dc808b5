"""Corrections of the ledger by an operator: a dead job is live again, a staged one is cancelled.

Each function is part of the caller's transaction, in which the caller changes Redis too. One that revives excludes
recorders, so that the end that is still in Redis is not written afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from reports.connection_postgres import Connection

_FOLDER = Path(__file__).parent / "sql"
_REMOVE_DEATHS, _REMOVE_MARKS, _LOCK_STAGED, _CANCEL_STAGED = (
    (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    for name in ("remove_deaths", "remove_marks", "lock_staged", "cancel_staged")
)
_WAIT = "SET LOCAL lock_timeout = '1s'"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevivedJob:
    """A job that was dead and is live again.

    Attributes:
        key: SHA-256 of its caller's key; "" without one.
    """

    id: str
    day: date
    lane: str
    key: str = field(repr=False)


async def remove_deaths(connection: Connection, job_ids: Sequence[str]) -> dict[str, RevivedJob]:
    """Make dead jobs live again if their content is still there; return them by id.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    found = await connection.fetch(_REMOVE_DEATHS, list(job_ids))
    return {row["id"]: RevivedJob(**row) for row in found}


async def remove_marks(connection: Connection, job_ids: Sequence[str]) -> None:
    """Remove the marks of the effects of dead jobs, before they are revived: their attempts count from 1 again.

    Unknown outcomes of these effects were counted when the jobs died. Raises DATABASE_FAULTS.
    """
    await connection.execute(_REMOVE_MARKS, list(job_ids))


async def lock_staged(connection: Connection, job_id: str) -> tuple[date, str] | None:
    """Lock a staged job against relays until the transaction ends; return its day and lane; None if not staged.

    Raises:
        DATABASE_FAULTS: the database refused, or a relay had the job for more than a second.
    """
    await connection.execute(_WAIT)
    row = await connection.fetchrow(_LOCK_STAGED, job_id)
    return None if row is None else (row["day"], row["lane"])


async def cancel_staged(connection: Connection, job_id: str, day: date) -> None:
    """End a job that :func:`lock_staged` has locked as cancelled. Raises DATABASE_FAULTS."""
    await connection.execute(_CANCEL_STAGED, job_id, day)
