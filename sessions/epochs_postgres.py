"""Users' epochs in Postgres, so that `revoke_user` survives a loss of Redis's data.

A Redis that was restored from an old backup, or failed over to a lagging replica, has lost its last writes: the
sessions of a former user would be valid again. With these epochs `revoke_user` is written to Postgres first, and
`restore_epochs` writes to Redis what it has lost; run it when a backend starts, and after a restore of Redis.

    CREATE TABLE momentus.session_epochs (user_id text PRIMARY KEY, epoch bigint NOT NULL)

Needs asyncpg in the backend's environment. Values are bound, never joined into the SQL. The pool may lead through
PgBouncer in transaction mode: no statement outlives its transaction.
"""

from __future__ import annotations

from typing import Any

import asyncpg

_TABLE = """
CREATE SCHEMA IF NOT EXISTS momentus;
CREATE TABLE IF NOT EXISTS momentus.session_epochs (user_id text PRIMARY KEY, epoch bigint NOT NULL)
"""
_RAISE = """
INSERT INTO momentus.session_epochs AS known (user_id, epoch) VALUES ($1, 1)
ON CONFLICT (user_id) DO UPDATE SET epoch = known.epoch + 1
RETURNING epoch
"""
_LIFT = """
INSERT INTO momentus.session_epochs AS known (user_id, epoch) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET epoch = greatest(known.epoch, excluded.epoch)
"""
_ALL = "SELECT user_id, epoch FROM momentus.session_epochs"

FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""Errors that a call of `DurableEpochs` may raise."""


class DurableEpochs:
    """Store of users' epochs in one Postgres database.

    Args:
        pool: an asyncpg pool of a user who may read and write ``momentus.session_epochs``.

    Example:
        epochs = DurableEpochs(await asyncpg.create_pool(dsn))
        await epochs.install()
        sessions = Sessions.connect(url, epochs=epochs)
        await sessions.restore_epochs()
    """

    def __init__(self, pool: Any) -> None:  # noqa: ANN401  asyncpg's own type is generic over its record
        self._pool = pool

    async def install(self) -> None:
        """Create the table if it does not exist."""
        async with self._pool.acquire() as connection:
            await connection.execute(_TABLE)

    async def begin(self, user: str) -> int:
        """Increment the user's stored epoch and return it."""
        return int((await self._fetch(_RAISE, user))[0]["epoch"])

    async def end(self, user: str, epoch: int) -> None:
        """Raise the user's stored epoch to the one that Redis has now, if that is higher."""
        await self._fetch(_LIFT, user, epoch)

    async def all(self) -> list[tuple[str, int]]:
        """Return all users who have an epoch, with their epochs."""
        return [(row["user_id"], row["epoch"]) for row in await self._fetch(_ALL)]

    async def _fetch(self, sql: str, *values: str | int) -> Any:  # noqa: ANN401  records
        """Run an unnamed statement in one transaction, which every pooler supports."""
        async with self._pool.acquire() as connection, connection.transaction():
            statement = await connection.prepare(sql, name="")
            return await statement.fetch(*values)
