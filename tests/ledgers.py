"""A ledger in a database of one test, and rows in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from ledger.schema import install


@asynccontextmanager
async def ledger_of(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Install the ledger into a database (the fixture's), and give a connection to it."""
    connection = await asyncpg.connect(dsn)
    try:
        await install(connection)
        yield connection
    finally:
        await connection.close()
