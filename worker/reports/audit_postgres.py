"""Queries of an audit: the rows of a node's subtree, and a check that a set is current."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reports import Report
from reports.day import Day
from reports.source_postgres import DatabaseSnapshot

_BELOW = """
WITH RECURSIVE tree AS (
{tree}
),
subtree AS (
    SELECT id FROM tree WHERE id = ${node}::bigint
    UNION
    SELECT tree.id FROM tree JOIN subtree ON tree.parent_id = subtree.id
)
SELECT direct.* FROM (
{rows}
) AS direct
WHERE direct.{scope} IN (SELECT id FROM subtree)
"""
_UNMARKED = """
SELECT NOT EXISTS (SELECT FROM momentus.dirty WHERE board = $1)
    AND EXISTS (SELECT FROM momentus.boards WHERE board = $1 AND as_of <= $2)
"""


async def rows_below(
    state: DatabaseSnapshot, report: Report, node: int, *, now: datetime, day: Day
) -> list[Mapping[str, Any]]:
    """Return the report's direct rows of a node and its descendants. Raises DATABASE_FAULTS."""
    values: dict[str, datetime | str] = {"now": now, "day_start": day.start, "day_end": day.end, "zone": day.zone}
    bound = [values[name] for name in report.parameters]
    sql = _BELOW.format(tree=report.tree, rows=report.sql, node=len(bound) + 1, scope=report.scope)
    return await state.query(sql, *bound, node)


async def is_unmarked(state: DatabaseSnapshot, board: str, *, since: datetime) -> bool:
    """Return True if a set of that instant contains every marked change of a board. Raises DATABASE_FAULTS."""
    return bool((await state.query(_UNMARKED, board, since))[0][0])
