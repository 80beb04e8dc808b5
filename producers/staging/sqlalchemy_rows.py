"""Rows on a session or connection of SQLAlchemy 2, with asyncio and without, over whatever driver it has.

A statement goes through SQLAlchemy, which begins the transaction and notices a lost connection. The event
``after_commit`` of a session notifies the relays; a connection has no event that comes after its commit.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ..errors import InvalidRequest
from .faults import autocommit, failed_transaction, not_open
from .row import Value
from .statement import insertion

_WAKES = "momentus_client.wakes"
"""Entry of a session's ``info``: the relays to tell after its commit."""


class AsyncSessionRows:
    """Writer of rows on an ``AsyncSession``, or on the one behind an ``async_scoped_session``."""

    name = "SQLAlchemy AsyncSession"

    def __init__(self, session: Any) -> None:  # noqa: ANN401  nothing of SQLAlchemy is imported
        self._session = session() if callable(session) else session

    async def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement.

        Args:
            alone: True if the rows may commit by themselves.

        Raises:
            InvalidRequest: the session is closed for good, in a failed transaction, in autocommit, or on a
                database other than Postgres.
        """
        try:
            connection = await self._session.connection()
        except Exception as error:
            if refusal := _refusal(error, self.name):
                raise refusal from error
            raise
        await AsyncConnectionRows(connection, self.name).insert(rows, alone=alone)

    def call_after_commit(self, wake: Callable[[], None]) -> bool:
        """Notify the relays after the session's commit. Returns True."""
        return _call_after_commit(self._session.sync_session, wake)


class SessionRows:
    """Writer of rows on a ``Session``, or on the one behind a ``scoped_session``."""

    name = "SQLAlchemy Session"

    def __init__(self, session: Any) -> None:  # noqa: ANN401  as above
        self._session = session() if callable(session) else session

    def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement, as :meth:`AsyncSessionRows.insert` does."""
        try:
            connection = self._session.connection()
        except Exception as error:
            if refusal := _refusal(error, self.name):
                raise refusal from error
            raise
        ConnectionRows(connection, self.name).insert(rows, alone=alone)

    def call_after_commit(self, wake: Callable[[], None]) -> bool:
        """Notify the relays after the session's commit. Returns True."""
        return _call_after_commit(self._session, wake)


class AsyncConnectionRows:
    """Writer of rows on an ``AsyncConnection`` of SQLAlchemy."""

    def __init__(self, connection: Any, name: str = "SQLAlchemy AsyncConnection") -> None:  # noqa: ANN401  as above
        self.name = name
        self._connection = connection

    async def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement. Raises as :meth:`AsyncSessionRows.insert`."""
        _check(self._connection.sync_connection, self.name, alone=alone)
        statement = insertion(rows, "colon")
        try:
            await self._connection.execute(_text(statement.text), statement.values)
        except Exception as error:
            if refusal := _refusal(error, self.name):
                raise refusal from error
            raise

    def call_after_commit(self, wake: object) -> bool:
        """Return False: a connection's events come before its commit."""
        del wake
        return False


class ConnectionRows:
    """Writer of rows on a ``Connection`` of SQLAlchemy."""

    def __init__(self, connection: Any, name: str = "SQLAlchemy Connection") -> None:  # noqa: ANN401  as above
        self.name = name
        self._connection = connection

    def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement. Raises as :meth:`AsyncSessionRows.insert`."""
        _check(self._connection, self.name, alone=alone)
        statement = insertion(rows, "colon")
        try:
            self._connection.execute(_text(statement.text), statement.values)
        except Exception as error:
            if refusal := _refusal(error, self.name):
                raise refusal from error
            raise

    def call_after_commit(self, wake: object) -> bool:
        """Return False: a connection's events come before its commit."""
        del wake
        return False


def _check(connection: Any, name: str, *, alone: bool) -> None:  # noqa: ANN401  as above
    """Check a connection for threads, which every connection of SQLAlchemy has inside."""
    if connection is None or connection.closed:
        raise not_open(name)
    if connection.dialect.name != "postgresql":
        raise InvalidRequest(
            f"connection: the {name} is for {connection.dialect.name}, but the ledger is in Postgres: give a "
            "connection to the database in which ./run ops db install was run"
        )
    if connection.invalidated:
        raise failed_transaction(name)
    if not alone and getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise autocommit(name, 'give one without isolation_level="AUTOCOMMIT"')


def _refusal(error: Exception, name: str) -> InvalidRequest | None:
    """Return the refusal for an error by which SQLAlchemy says that a session or connection cannot be used."""
    reasons = {type(error).__name__} | {base.__name__ for base in type(error).__mro__}
    if not type(error).__module__.startswith("sqlalchemy."):
        return None
    if reasons & {"PendingRollbackError"}:
        return failed_transaction(name)
    if "InvalidRequestError" in reasons:  # of a session that was closed for good, or has no database
        return InvalidRequest(f"connection: the {name} cannot be used: {error}")
    return None


@cache
def _text(statement: str) -> Any:  # noqa: ANN401  as above
    return sys.modules["sqlalchemy"].text(statement)


def _call_after_commit(session: Any, wake: Callable[[], None]) -> bool:  # noqa: ANN401  as above
    """Note what is to be called after the session's commit; one listener serves a session for its life."""
    if _WAKES not in session.info:
        session.info[_WAKES] = set()
        sys.modules["sqlalchemy"].event.listen(session, "after_commit", _wake_relays)
    session.info[_WAKES].add(wake)  # equal ones once: those of a rollback stay until the next commit
    return True


def _wake_relays(session: Any) -> None:  # noqa: ANN401  as above
    if session.in_nested_transaction():  # only a savepoint was released
        return
    wakes, session.info[_WAKES] = session.info[_WAKES], set()
    for wake in wakes:
        wake()
