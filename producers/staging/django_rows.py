"""Rows on a database of Django, by its alias or its connection; for threads, as Django's connections are.

The statement goes to the driver's own cursor: with DEBUG, Django's cursors keep and log every statement with its
values, which here are the texts of mails. Relays are notified by Django's ``on_commit``.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import InvalidRequest
from .faults import autocommit, failed_transaction
from .psycopg_rows import insert_by_psycopg
from .row import Value
from .statement import insertion


class DjangoRows:
    """Writer of rows on a database of Django.

    Args:
        database: an alias, ``connections[alias]``, or ``django.db.connection``.

    Raises:
        InvalidRequest: an alias without Django, an unknown one, or a database other than Postgres.
    """

    name = "Django connection"

    def __init__(self, database: Any) -> None:  # noqa: ANN401  nothing of Django is imported
        self._wrapper = _connection_of(database) if isinstance(database, str) else database
        if self._wrapper.vendor != "postgresql":
            raise InvalidRequest(
                f"connection: Django's database {self._wrapper.alias!r} is {self._wrapper.vendor}; the ledger is "
                "in Postgres: name the database in which ./run ops db install was run"
            )

    def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement.

        Args:
            alone: True if the rows may commit by themselves.

        Raises:
            InvalidRequest: the connection is outside a transaction, or in one that has failed.
        """
        wrapper = self._wrapper
        if wrapper.needs_rollback:
            raise failed_transaction(self.name)
        if not alone and not wrapper.in_atomic_block and wrapper.get_autocommit():
            raise autocommit(self.name, "begin one with `with transaction.atomic():`")
        wrapper.validate_thread_sharing()
        wrapper.ensure_connection()
        with wrapper.wrap_database_errors:
            _insert(wrapper.connection, rows)

    def call_after_commit(self, wake: Callable[[], None]) -> bool:
        """Notify the relays after the commit. Returns False if the application manages transactions itself."""
        if not self._wrapper.in_atomic_block:
            return False
        self._wrapper.on_commit(wake, robust=True)
        return True


def _insert(connection: Any, rows: Sequence[Mapping[str, Value]]) -> None:  # noqa: ANN401  as above
    if any(base.__module__.partition(".")[0] == "psycopg" for base in type(connection).__mro__):
        insert_by_psycopg(connection, rows)
        return
    statement = insertion(rows, "percent")
    with connection.cursor() as cursor:  # psycopg2, which Django supports besides
        cursor.execute(statement.text, statement.values)


def _connection_of(alias: str) -> Any:  # noqa: ANN401  as above
    """Return Django's connection of this thread. Raises InvalidRequest."""
    if "django.db" not in sys.modules:
        raise InvalidRequest(
            f"connection: {alias!r} is read as the alias of a Django database, but this process does not use "
            "Django; give the connection or session itself"
        )
    connections = sys.modules["django.db"].connections
    if alias not in connections.settings:
        raise InvalidRequest(f"connection: {alias!r} is not in DATABASES, which has {', '.join(connections)}")
    return connections[alias]
