"""The organisation's database: filling it, a check-in, and the walk over all nodes that the demo compares with."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import asyncpg

from local.organisation import Organisation
from local.organisation.postgres import count_rows, install_schema, load_rows

_WALK = (Path(__file__).parent / "walk.sql").read_text(encoding="utf-8")
_A_LEAF = """
SELECT node.id FROM organisation.nodes AS node
WHERE NOT EXISTS (SELECT FROM organisation.nodes AS child WHERE child.parent_id = node.id)
ORDER BY node.id LIMIT 1
"""
_CHECK_IN = """
INSERT INTO organisation.checkins (id, employee_id, node_id, at, kind)
SELECT (SELECT max(id) + 1 FROM organisation.checkins), min(id), $1, now(), 'office'
FROM organisation.employees WHERE left_at IS NULL
"""


class Company:
    """One connection to the organisation's database; an async context manager.

    Args:
        dsn: of a user who may create the schema.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Any = None

    async def __aenter__(self) -> Self:
        self._connection = await asyncpg.connect(self._dsn)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def replace_rows(self, organisation: Organisation) -> None:
        """Replace the content of the organisation's schema by these rows."""
        await install_schema(self._connection)
        await load_rows(self._connection, organisation)

    async def is_empty(self) -> bool:
        """Return True if there are no nodes yet; makes a missing schema."""
        await install_schema(self._connection)
        return (await count_rows(self._connection))["nodes"] == 0

    async def nodes(self) -> list[int]:
        """Return all node ids."""
        return [row["id"] for row in await self._connection.fetch("SELECT id FROM organisation.nodes ORDER BY id")]

    async def leaf(self) -> int:
        """Return a node without children, the same one each time."""
        return int(await self._connection.fetchval(_A_LEAF))

    async def check_in(self, node_id: int) -> None:
        """Insert a check-in at a node, now."""
        await self._connection.execute(_CHECK_IN, node_id)

    async def handles(self, count: int) -> list[str]:
        """Return the handles of current employees."""
        rows = await self._connection.fetch(
            "SELECT handle FROM organisation.employees WHERE left_at IS NULL ORDER BY id LIMIT $1", count
        )
        return [row["handle"] for row in rows]

    async def query_totals(self, day_start: datetime, day_end: datetime) -> float:
        """Query every node's totals, one by one, as a dashboard without reports does; return the seconds."""
        nodes = await self.nodes()
        statement = await self._connection.prepare(_WALK)
        now = datetime.now(UTC)
        began = time.perf_counter()
        for node in nodes:
            await statement.fetchrow(node, now, day_start, day_end)
        return time.perf_counter() - began
