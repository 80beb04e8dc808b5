"""The lock between recorders of ends and searches for jobs that Redis has lost.

It is a transaction-level lock, which works through a pooler in transaction mode. Without it a job whose end is
being recorded, and which is being removed from Redis, could be taken for lost.
"""

from reports.connection_postgres import Connection

_LOCK = "hashtextextended('momentus_ledger.ends', 0)"


async def exclude_recorders(connection: Connection) -> None:
    """Wait until no recorder is at work, and keep all of them out until the transaction ends."""
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")


async def may_record(connection: Connection) -> bool:
    """Return True if no other process records or searches, and keep all of them out until the transaction ends."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_LOCK})"))
