"""The lock between those who record ends and those who search for what Redis lost.

It is a lock of the transaction, so that a pooler in transaction mode may stand between. Without it a job could be
taken for lost whose end is recorded, and removed from Redis, at this moment.
"""

from reports.connection_postgres import Connection

_LOCK = "hashtextextended('momentus_ledger.ends', 0)"


async def exclude_recorders(connection: Connection) -> None:
    """Wait until no recorder is at work, and keep all of them out until the transaction ends."""
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")


async def may_record(connection: Connection) -> bool:
    """Return True if no other records or searches, and keep all of them out until the transaction ends."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_LOCK})"))
