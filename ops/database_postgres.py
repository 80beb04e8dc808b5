"""The database of a command: one connection, and its faults as refusals that name the setting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from ops.command import CommandRefused, Tools
from reports.connection_postgres import Connection, NoAnswer, connect, is_lost
from reports.source_postgres import DATABASE_FAULTS

_REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, NoAnswer)
"""Errors of the database alone; all others are caused by the block."""


@asynccontextmanager
async def open_database(tools: Tools) -> AsyncIterator[Connection]:
    """Lend a connection to the configured Postgres.

    Raises:
        CommandRefused: there is none, or it refused or was lost; nothing of an open transaction remains.
    """
    if not tools.postgres_dsn:
        raise CommandRefused("MOMENTUS_POSTGRES_DSN: is not set; name the database")
    connection = await connect_database(tools.postgres_dsn)
    try:
        yield connection
    except asyncpg.InsufficientPrivilegeError as error:
        raise CommandRefused(
            f"MOMENTUS_POSTGRES_DSN: {error}; use a role that may do this (docs/ledger.md)"
        ) from None
    except asyncpg.LockNotAvailableError:
        raise CommandRefused(
            "MOMENTUS_POSTGRES_DSN: could not get a lock within 1 s; nothing was changed; try again"
        ) from None
    except _REFUSALS as error:
        raise CommandRefused(f"MOMENTUS_POSTGRES_DSN: the database refused: {error}") from None
    except OSError as error:
        if not is_lost(connection):
            raise  # of a file, or of Redis
        raise CommandRefused(f"MOMENTUS_POSTGRES_DSN: the connection was lost: {error}") from None
    finally:
        await connection.close()


async def connect_database(dsn: str) -> Connection:
    """Open a connection. Raises CommandRefused if there is none."""
    try:
        return await connect(dsn, application="momentus-ops")
    except (*DATABASE_FAULTS, ValueError) as error:
        raise CommandRefused(
            f"MOMENTUS_POSTGRES_DSN: no connection ({type(error).__name__}); check the address, "
            "and that the database is running"
        ) from None
