"""Connections to Postgres, directly or through a pooler, which is detected without a setting.

A pooler in transaction mode (PgBouncer and its like) gives each transaction whichever server connection is free. A
statement that was prepared by name on one of them is unknown on the next, or belongs to another client. A pooler
is detected by the process id in its greeting, which differs from that of the server's process. Through a pooler,
statements have no name and are parsed each time; directly they are prepared once. Each connection checks again.

Rule for all code that connects here: settings are made inside a transaction and for it, types are queried only
there, and nothing needs a session that persists: no LISTEN, no session-level advisory lock, no temporary table.
The only session setting is the statement timeout of a direct connection; through a pooler the role's applies.

An address may name several hosts: the first that accepts and is in the state that ``target_session_attrs`` demands
is used. One that does not answer delays the next by its part of the time limit.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from reports.hosts import attempts_of

Connection = Any
"""The driver's, or its pool's proxy of one."""
_BETWEEN_QUERIES = (
    "between two queries, as it does after idle_in_transaction_session_timeout or transaction_timeout, "
    "at a shutdown or, on a standby, because of a conflict with recovery; its log says which"
)
_SECONDS = 5.0
"""Timeout for a connection to any of the hosts, and for a pooler to find a server connection."""
_TRY_THE_NEXT = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
"""Errors of one host: it is down, starts, stops, or is not in the state that ``target_session_attrs`` demands."""


class NoAnswer(ConnectionError):
    """No server answered: a host is down, has vanished from a connection, or is a pooler without a server."""


class ConnectionEnded(asyncpg.InterfaceError):
    """The server closed a connection that was in use."""


def is_lost(connection: Connection) -> bool:
    """Return True if a connection has ended. A pool takes such a connection back at once."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


def connection_ended(error: BaseException) -> ConnectionEnded:
    """Return an error that gives the server's reason for closing a connection, if it sent one.

    Args:
        error: the driver's error; the server's message is in its cause or context.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, asyncpg.PostgresError):
        behind = behind.__cause__ or behind.__context__
    if behind is None:
        return ConnectionEnded(f"the database ended the connection {_BETWEEN_QUERIES}")
    said = str(behind).removeprefix("connection was closed in the middle of operation: ")
    return ConnectionEnded(f"the database ended the connection: {said}")


def give_up_connection(connection: Connection) -> NoAnswer:
    """Close a connection whose server does not answer, without waiting for it; return the error to raise."""
    connection.terminate()
    return NoAnswer("the database did not answer a query in time; the next refresh opens a new connection")


async def connect(dsn: str, *, application: str, command_timeout: float | None = None) -> Connection:
    """Open one connection.

    Args:
        application: application name of this connection in the server's statistics.
        command_timeout: seconds for each query, in place of the role's setting; None: the role's.

    Raises:
        DATABASE_FAULTS, ValueError: there is no connection, or the address is invalid.
    """
    named = {"application_name": application}
    return await _connect(dsn, server_settings=named, command_timeout=command_timeout)


class LazyPool:
    """Pool that is opened at its first use, and again after :meth:`close`.

    Args:
        connections: maximum number of connections; each is opened when it is needed, like those of `connect`.
        options: ``init``, ``reset`` and ``command_timeout`` of ``asyncpg.create_pool``.
    """

    def __init__(self, dsn: str, *, application: str, connections: int, **options: Any) -> None:  # noqa: ANN401  the driver's
        self._dsn = dsn
        self._options = {
            "min_size": 0,  # or the driver keeps trying to have one, and logs each failure with its stack
            "max_size": connections,
            "connect": _connect,
            "server_settings": {"application_name": application},
            **options,
        }
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; one whose server does not answer in time is closed without waiting for it.

        Raises:
            DATABASE_FAULTS, ValueError: there is no connection, or the address is invalid.
        """
        if self._pool is None:
            self._pool = await asyncpg.create_pool(self._dsn, **self._options)
        async with self._pool.acquire() as connection:
            try:
                yield connection
            except TimeoutError as error:
                raise give_up_connection(connection) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


async def _connect(dsn: str, **options: Any) -> Connection:  # noqa: ANN401  the driver's
    """Open a connection; reconnect without prepared statements if a pooler answered."""
    connection, attempt = await _open_any(dsn, **options)
    try:
        pooled = await _is_pooled(connection)
        if not pooled and (longest := options.get("command_timeout")):
            await connection.execute(f"SET statement_timeout = {round(longest * 1000)}")
    except TimeoutError as error:
        raise give_up_connection(connection) from error
    except asyncpg.PostgresConnectionError as error:  # a pooler accepts without a server, too
        connection.terminate()
        raise NoAnswer(str(connection_ended(error))) from error
    except BaseException:
        connection.terminate()
        raise
    if not pooled:
        return connection
    await connection.close(timeout=_SECONDS)
    return await _open(dsn, seconds=_SECONDS, statement_cache_size=0, **attempt, **options)


async def _open_any(dsn: str, **options: Any) -> tuple[Connection, Mapping[str, object]]:  # noqa: ANN401  the driver's
    """Open a connection to the first host that is usable; return it with the options for that host alone."""
    attempts = attempts_of(dsn)
    faults: list[Exception] = []
    for attempt in attempts:
        try:
            return await _open(dsn, seconds=_SECONDS / len(attempts), **attempt, **options), attempt
        except _TRY_THE_NEXT as error:
            faults.append(error)
    away = [one for one in faults if not isinstance(one, asyncpg.TargetServerAttributeNotMatched)]
    raise (away or faults)[-1]


async def _open(dsn: str, *, seconds: float, **options: Any) -> Connection:  # noqa: ANN401  the driver's
    try:
        return await asyncpg.connect(dsn, timeout=seconds, **options)
    except TimeoutError:
        raise NoAnswer(f"the database did not answer within {seconds:.3g} s") from None


async def _is_pooled(connection: Connection) -> bool:
    """Return True if a pooler answered instead of the server. The query uses no prepared statement."""
    asked = f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid()}"
    return bool(await connection.execute(asked, timeout=_SECONDS) != "SELECT 1")
