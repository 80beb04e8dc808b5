"""The one way to Postgres: directly, or through a pooler that is noticed without being declared.

A pooler in transaction mode (PgBouncer and its like) gives each transaction whichever server connection is free. A
statement that was prepared by name on one of them is unknown on the next, or another client's. A pooler shows by
the process id that it sends at the beginning: it is not that of the server's process. Through one, statements have
no name and are parsed each time; directly they are prepared once. A pooler that comes or goes is noticed by the
next connection.

What holds for everybody who connects here: settings are made inside a transaction and for it, types are only asked
for there, and nothing needs a session that lasts: no LISTEN, no advisory lock of a session, no temporary table.
One setting of a session there is, a time limit in place of the role's; through a pooler the role's stays.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import asyncpg

Connection = Any
"""The driver's, or its pool's proxy of one."""
_BETWEEN_QUERIES = (
    "between two queries, as it does after idle_in_transaction_session_timeout or transaction_timeout, "
    "when it is stopped and, on a standby, for a conflict with recovery; its log says which"
)
_SECONDS = 5.0
"""For a connection, and for a pooler to find one of the server's."""


class ConnectionEnded(asyncpg.InterfaceError):
    """The server ended a connection that was in use."""


def is_lost(connection: Connection) -> bool:
    """Whether a connection has ended; a pool takes such a one back at once, and nothing can be asked of it."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


def connection_ended(error: BaseException) -> ConnectionEnded:
    """Say why a connection ended, in the server's words where it had the chance to say any.

    Args:
        error: the driver's, which only says what can no longer be done; the server's words are behind it.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, asyncpg.PostgresError):
        behind = behind.__cause__ or behind.__context__
    if behind is None:
        return ConnectionEnded(f"the database ended the connection {_BETWEEN_QUERIES}")
    said = str(behind).removeprefix("connection was closed in the middle of operation: ")
    return ConnectionEnded(f"the database ended the connection: {said}")


async def connect(dsn: str, *, application: str, command_timeout: float | None = None) -> Connection:
    """Connect.

    Args:
        application: by which the server's statistics tell this connection.
        command_timeout: seconds for each query, whatever the role's settings say; left out, theirs.

    Raises:
        DATABASE_FAULTS, ValueError: there is no connection; the address is none.
    """
    named = {"application_name": application}
    return await _connect(dsn, server_settings=named, command_timeout=command_timeout)


async def open_pool(
    dsn: str,
    *,
    application: str,
    connections: int,
    init: Callable[[Connection], Coroutine[Any, Any, None]] | None = None,
    reset: Callable[[Connection], Awaitable[None]] | None = None,
    command_timeout: float | None = None,
) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool whose connections are all made in this way.

    Args:
        connections: how many there may be at once; one is made now.
        init, reset, command_timeout: as ``asyncpg.create_pool`` takes them.

    Raises:
        DATABASE_FAULTS, ValueError: there is no connection; the address is none.
    """
    make: Any = _connect
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=connections,
        connect=make,
        init=init,
        reset=reset,
        command_timeout=command_timeout,
        server_settings={"application_name": application},
    )


async def _connect(dsn: str, **options: Any) -> Connection:  # noqa: ANN401  the driver's
    """Connect, and once more without prepared statements when a pooler answers."""
    connection = await asyncpg.connect(dsn, timeout=_SECONDS, **options)
    try:
        pooled = await _is_pooled(connection)
    except BaseException:
        connection.terminate()
        raise
    if not pooled:
        if longest := options.get("command_timeout"):
            await connection.execute(f"SET statement_timeout = {round(longest * 1000)}")
        return connection
    await connection.close(timeout=_SECONDS)
    return await asyncpg.connect(dsn, timeout=_SECONDS, statement_cache_size=0, **options)


async def _is_pooled(connection: Connection) -> bool:
    """Whether something else than the server answered; asked without a prepared statement."""
    asked = f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid()}"
    return bool(await connection.execute(asked, timeout=_SECONDS) != "SELECT 1")
