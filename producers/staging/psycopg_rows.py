"""Rows on a connection of psycopg 3, with asyncio and without.

The cursor is always psycopg's plain one: an application may have set a class of cursors that writes parameters in
another style.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .faults import autocommit, failed_transaction, not_open
from .row import Value
from .statement import insertion


class AsyncPsycopgRows:
    """Writer of rows on an ``AsyncConnection`` of psycopg."""

    name = "psycopg AsyncConnection"

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  nothing of psycopg is imported
        self._connection = connection

    async def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement.

        Args:
            alone: True if the rows may commit by themselves.

        Raises:
            InvalidRequest: the connection is closed, in a failed transaction, or in autocommit without one.
        """
        check_psycopg(self._connection, self.name, alone=alone, begin="async with connection.transaction():")
        statement = insertion(rows, "percent")
        async with sys.modules["psycopg"].AsyncCursor(self._connection) as cursor:
            await cursor.execute(statement.text, statement.values)

    def call_after_commit(self, wake: object) -> bool:
        """Return False: psycopg has no such event."""
        del wake
        return False


class PsycopgRows:
    """Writer of rows on a ``Connection`` of psycopg."""

    name = "psycopg Connection"

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  as above
        self._connection = connection

    def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement, as :meth:`AsyncPsycopgRows.insert` does."""
        check_psycopg(self._connection, self.name, alone=alone, begin="with connection.transaction():")
        insert_by_psycopg(self._connection, rows)

    def call_after_commit(self, wake: object) -> bool:
        """Return False: psycopg has no such event."""
        del wake
        return False


def check_psycopg(connection: Any, name: str, *, alone: bool, begin: str) -> None:  # noqa: ANN401  as above
    """Check the state of a connection, as far as it is known without a statement.

    Raises:
        InvalidRequest: it is closed, in a failed transaction, or would commit the rows although not `alone`.
    """
    if connection.closed:
        raise not_open(name)
    state = connection.info.transaction_status.name
    if state == "INERROR":
        raise failed_transaction(name)
    if state == "IDLE" and connection.autocommit and not alone:
        raise autocommit(name, f"begin one with `{begin}`")


def insert_by_psycopg(connection: Any, rows: Sequence[Mapping[str, Value]]) -> None:  # noqa: ANN401  as above
    """Insert rows on a connection of psycopg for threads."""
    statement = insertion(rows, "percent")
    with sys.modules["psycopg"].Cursor(connection) as cursor:
        cursor.execute(statement.text, statement.values)
