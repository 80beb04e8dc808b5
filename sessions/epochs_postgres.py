"""Users' epochs in Postgres: that all sessions of somebody were ended outlives Redis's memory.

A Redis that comes back from an old backup, or fails over to a replica that lags, has forgotten its last writes: a
leaver's sessions would live again. With these epochs `revoke_user` is written to Postgres first, and
`restore_epochs` puts back into Redis what it has forgotten; run it when a backend starts, and when Redis came
back from a backup.

    CREATE TABLE momentus.session_epochs (user_id text PRIMARY KEY, epoch bigint NOT NULL)

Needs asyncpg in the backend's environment. SQL and values are bound, never joined. The pool may lead through
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
"""What Postgres may answer with."""


class DurableEpochs:
    """The epochs in one database.

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
        """Make the table, unless it is there."""
        async with self._pool.acquire() as connection:
            await connection.execute(_TABLE)

    async def begin(self, user: str) -> int:
        """One more than the user's epoch here was."""
        return int((await self._fetch(_RAISE, user))[0]["epoch"])

    async def end(self, user: str, epoch: int) -> None:
        """Note the epoch that Redis has now, which may be higher."""
        await self._fetch(_LIFT, user, epoch)

    async def all(self) -> list[tuple[str, int]]:
        """Every user who has one."""
        return [(row["user_id"], row["epoch"]) for row in await self._fetch(_ALL)]

    async def _fetch(self, sql: str, *values: str | int) -> Any:  # noqa: ANN401  records
        """Run a statement without a name in a transaction of its own, which any pooler takes."""
        async with self._pool.acquire() as connection, connection.transaction():
            statement = await connection.prepare(sql, name="")
            return await statement.fetch(*values)
