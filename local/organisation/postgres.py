"""The organisation in Postgres 15 or later: install the schema, fill it, count it, drop it.

States of a database: without the schema, with this package's (empty or filled), or with a foreign one of the
same name, which is never touched. A load replaces everything in one transaction: readers wait for its commit or
keep the snapshot they have, and a load that fails leaves the earlier rows in place. After the commit the
replaced rows are vacuumed away; within a transaction of the caller that is left to autovacuum.
"""

from pathlib import Path
from typing import TypeAlias

import asyncpg

from local.organisation.errors import ForeignSchemaError, MissingSchemaError, RefusedRowsError
from local.organisation.tables import Organisation

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


async def install_schema(connection: Connection) -> None:
    """Create the empty schema if it is absent. Raises `ForeignSchemaError`.

    >>> await install_schema(connection)  # doctest: +SKIP
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('organisation'))")
        if await _is_installed(connection):
            return
        await connection.execute(_script("schema"))
        await connection.execute(_script("references"))


async def drop_schema(connection: Connection) -> None:
    """Remove the schema with all its rows and all dependent objects. Raises `ForeignSchemaError`."""
    async with connection.transaction():
        if await _is_installed(connection):
            await connection.execute("DROP SCHEMA organisation CASCADE")


async def load_rows(connection: Connection, organisation: Organisation) -> None:
    """Replace all rows by those of `organisation`, in one transaction, and update the planner's statistics.

    Raises `MissingSchemaError`, `ForeignSchemaError`, or `RefusedRowsError` when the rows contradict each
    other.

    >>> organisation = generate_organisation(OrganisationSize(), seed=1, now=datetime.now(UTC))
    >>> await load_rows(connection, organisation)  # doctest: +SKIP
    """
    try:
        async with connection.transaction():
            await _require_installed(connection)
            await connection.execute(_script("unload"))
            await _copy(connection, organisation)
            await connection.execute(_script("references"))
            await connection.execute(_script("analyze"))
    except asyncpg.IntegrityConstraintViolationError as error:
        raise RefusedRowsError(error.constraint_name, error.detail) from error
    if not connection.is_in_transaction():
        await connection.execute(_script("vacuum"))


async def count_rows(connection: Connection) -> dict[str, int]:
    """Return rows per table, for example `{"nodes": 700, "employees": 5000, ...}`. Raises `MissingSchemaError`."""
    await _require_installed(connection)
    row = await connection.fetchrow(_script("counts"))
    return dict(row) if row else {}


async def _copy(connection: Connection, organisation: Organisation) -> None:
    for table, rows in organisation.tables():
        await connection.copy_records_to_table(
            table.name, schema_name="organisation", columns=table.column_names, records=rows
        )


async def _require_installed(connection: Connection) -> None:
    if not await _is_installed(connection):
        raise MissingSchemaError


async def _is_installed(connection: Connection) -> bool:
    """Return True if this package's schema exists. Raises `ForeignSchemaError` for a foreign one."""
    mark = await connection.fetchrow(_script("mark"))
    if mark is None or not mark["present"]:
        return False
    if not mark["is_own"]:
        raise ForeignSchemaError
    return True


def _script(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")
