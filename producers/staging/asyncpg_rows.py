"""Rows on a connection of asyncpg, or on one that its pool has lent."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidRequest
from .faults import autocommit, not_open
from .row import COLUMNS, Value
from .statement import insertion


class AsyncpgRows:
    """Writer of rows on a connection of asyncpg."""

    name = "asyncpg connection"

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  nothing of asyncpg is imported
        self._connection = connection

    async def insert(self, rows: Sequence[Mapping[str, Value]], *, alone: bool) -> None:
        """Insert rows in one statement.

        Args:
            alone: True if the rows may commit by themselves.

        Raises:
            InvalidRequest: the connection is closed, or was given back to its pool, or has no transaction.
        """
        if self._is_closed():
            raise not_open(self.name)
        if not (alone or self._connection.is_in_transaction()):
            raise autocommit(self.name, "begin one with `async with connection.transaction():`")
        statement = insertion(rows, "numbered")
        await self._connection.execute(statement.text, *(statement.values[name] for name in COLUMNS))

    def call_after_commit(self, wake: object) -> bool:
        """Return False: asyncpg has no such event."""
        del wake
        return False

    def _is_closed(self) -> bool:
        try:
            return bool(self._connection.is_closed())
        except Exception as error:  # asyncpg.InterfaceError of a proxy that refers to nothing any more
            raise InvalidRequest(
                f"connection: the {self.name} has been returned to its pool; send the job before that"
            ) from error
