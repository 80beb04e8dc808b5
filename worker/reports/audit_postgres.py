"""Queries of an audit: the rows of a node's subtree, and a check that a set is current."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reports import Report
from reports.day import Day
from reports.node_ids import NodeId
from reports.source_postgres import DatabaseSnapshot

_BELOW = """
WITH RECURSIVE tree AS (
{tree}
),
subtree AS (
    SELECT id FROM tree WHERE id::text = ${node}::text
    UNION
    SELECT tree.id FROM tree JOIN subtree ON tree.parent_id = subtree.id
)
SELECT direct.* FROM (
{rows}
) AS direct
WHERE direct.{scope} IN (SELECT id FROM subtree)
"""
_AMONG = """
SELECT direct.* FROM (
{rows}
) AS direct
WHERE direct.{scope}::text = ANY (${node}::text[])
"""
_UNMARKED = """
SELECT NOT EXISTS (SELECT FROM momentus.dirty WHERE board = $1)
    AND EXISTS (SELECT FROM momentus.boards WHERE board = $1 AND as_of <= $2)
"""


async def rows_below(
    state: DatabaseSnapshot, report: Report, node: NodeId, *, now: datetime, day: Day
) -> list[Mapping[str, Any]]:
    """Return the report's direct rows of a node and its descendants.

    A query walks down a tree with ``parent_id``. For other trees, and for those with rules, the nodes below come
    from the refresh's own tree.

    Raises:
        DATABASE_FAULTS: the database refused a query.
        InvalidRows, InvalidTree: the tree cannot be built.
    """
    values: dict[str, datetime | str] = {"now": now, "day_start": day.start, "day_end": day.end, "zone": day.zone}
    bound = [values[name] for name in report.parameters]
    place = len(bound) + 1
    if not report.tree_rules.orphans and "parent_id" in await state.tree_columns(report):
        below = _BELOW.format(tree=report.tree, rows=report.sql, node=place, scope=report.scope)
        return await state.query(below, *bound, str(node))
    tree = await state.tree(report)
    ids = [str(one) for one, path in tree.paths.items() if str(node) in map(str, path)]
    return await state.query(_AMONG.format(rows=report.sql, node=place, scope=report.scope), *bound, ids)


async def is_unmarked(state: DatabaseSnapshot, board: str, *, since: datetime) -> bool:
    """Return True if a set of that instant contains every marked change of a board. Raises DATABASE_FAULTS."""
    return bool((await state.query(_UNMARKED, board, since))[0][0])
