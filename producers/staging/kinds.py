"""Kinds of connections, told apart by the classes of their libraries, none of which is imported here."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..errors import InvalidRequest
from .asyncpg_rows import AsyncpgRows
from .django_rows import DjangoRows
from .psycopg_rows import AsyncPsycopgRows, PsycopgRows
from .row import Value
from .sqlalchemy_rows import AsyncConnectionRows, AsyncSessionRows, ConnectionRows, SessionRows


class RowWriter(Protocol):
    """Writer of rows for asyncio."""

    @property
    def name(self) -> str:
        """The kind of the connection, as users know it."""

    async def insert(self, rows: "list[dict[str, Value]]", *, alone: bool) -> None:
        """Insert rows in one statement; `alone` if they may commit by themselves. Raises InvalidRequest."""

    def call_after_commit(self, wake: Callable[[], None]) -> bool:
        """Call a function after the commit; False if this connection cannot."""


class SyncRowWriter(Protocol):
    """Writer of rows for threads; see :class:`RowWriter`."""

    @property
    def name(self) -> str:
        """The kind of the connection, as users know it."""

    def insert(self, rows: "list[dict[str, Value]]", *, alone: bool) -> None:
        """Insert rows in one statement; `alone` if they may commit by themselves. Raises InvalidRequest."""

    def call_after_commit(self, wake: Callable[[], None]) -> bool:
        """Call a function after the commit; False if this connection cannot."""


_Class = tuple[str, str]
"""Library and name of a class."""

_WITH_ASYNCIO: dict[_Class, Callable[[Any], RowWriter]] = {
    ("asyncpg", "Connection"): AsyncpgRows,
    ("asyncpg", "PoolConnectionProxy"): AsyncpgRows,
    ("psycopg", "AsyncConnection"): AsyncPsycopgRows,
    ("sqlalchemy", "AsyncSession"): AsyncSessionRows,
    ("sqlalchemy", "async_scoped_session"): AsyncSessionRows,
    ("sqlalchemy", "AsyncConnection"): AsyncConnectionRows,
}
_FOR_THREADS: dict[_Class, Callable[[Any], SyncRowWriter]] = {
    ("psycopg", "Connection"): PsycopgRows,
    ("sqlalchemy", "Session"): SessionRows,
    ("sqlalchemy", "scoped_session"): SessionRows,
    ("sqlalchemy", "Connection"): ConnectionRows,
    ("django", "BaseDatabaseWrapper"): DjangoRows,
    ("django", "ConnectionProxy"): DjangoRows,
    ("builtins", "str"): DjangoRows,
}
_REMEDIES = {
    "asyncpg": "give a connection: `async with pool.acquire() as connection`",
    "psycopg": "give the connection itself, like `cursor.connection`",
    "psycopg_pool": "give a connection: `with pool.connection() as connection`",
    "psycopg2": "give a connection of psycopg 3, or a session of SQLAlchemy over psycopg2",
    "sqlalchemy": "give a session, or a connection: `with engine.begin() as connection`",
    "django": "give one of its connections: `connections['default']`",
}
_FITTING = {
    True: "an asyncpg connection, psycopg's AsyncConnection, or SQLAlchemy's AsyncSession or AsyncConnection",
    False: "psycopg's Connection, SQLAlchemy's Session or Connection, or the alias of a database of Django",
}


def row_writer(connection: object) -> RowWriter:
    """Return the row writer for an asyncio connection.

    Raises:
        InvalidRequest: it is for threads, or its type is unknown.
    """
    for one in _classes(connection):
        if one in _WITH_ASYNCIO:
            return _WITH_ASYNCIO[one](connection)
    raise _refusal(connection, _FOR_THREADS, asyncio=True)


def sync_row_writer(connection: object) -> SyncRowWriter:
    """Return the row writer for a connection used by threads.

    Raises:
        InvalidRequest: it is for asyncio, its type is unknown, or its database cannot be used.
    """
    for one in _classes(connection):
        if one in _FOR_THREADS:
            return _FOR_THREADS[one](connection)
    raise _refusal(connection, _WITH_ASYNCIO, asyncio=False)


def _classes(connection: object) -> Iterator[_Class]:
    """Yield the library and the name of a value's class and of the classes that it extends."""
    for one in type(connection).__mro__:
        yield one.__module__.partition(".")[0], one.__name__


def _refusal(connection: object, others: "dict[_Class, Any]", *, asyncio: bool) -> InvalidRequest:
    """Return the refusal of a connection of the other kind, or of an object that is not a connection."""
    fitting = f"give {'Producer' if asyncio else 'SyncProducer'} {_FITTING[asyncio]}"
    for library, name in _classes(connection):
        if (library, name) in others:
            kind = "Django database" if library in {"django", "builtins"} else f"{_TITLES[library]} {name}"
            world = (
                "threads, and Producer is for asyncio" if asyncio else "asyncio, and SyncProducer is for threads"
            )
            return InvalidRequest(f"connection: a {kind} is for {world}; {fitting}")
    for library, _ in _classes(connection):
        if library in _REMEDIES:
            kind = f"{library} {type(connection).__name__}"
            return InvalidRequest(f"connection: a {kind} cannot be used as a connection; {_REMEDIES[library]}")
    return InvalidRequest(f"connection: must not be a value of type {type(connection).__name__}; {fitting}")


_TITLES = {"asyncpg": "asyncpg", "psycopg": "psycopg", "sqlalchemy": "SQLAlchemy"}
