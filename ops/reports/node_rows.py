"""Comparison of a report's rows for some nodes with its rows for all: pure.

A row of one query must equal the row of the other, as the roll-ups see it: the order within sets of ids and within
rows that are ranked anyway does not count. Nodes to query are drawn with a fixed seed, so that findings recur.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from reports import Report
from reports.measures import checked_value
from reports.node_ids import NodeId
from reports.rollups import columns_of, top_of

_SEED = 17
_WITH_ROWS, _WITHOUT_ROWS, _PAIRS = 3, 2, 2
_TENTH = 10
_MOST = 1000
_FLOATS = {"float4", "float8"}


class DifferenceKind(StrEnum):
    """Kind of difference between the rows for some nodes and those for all."""

    UNASKED = "unasked"
    """A row of a node that was not requested."""
    REPEATED = "repeated"
    MISSING = "missing"
    EXTRA = "extra"
    """A row of a node that has none among all rows."""
    TIE = "tie"
    """A different value among some that the query does not put in order."""
    FLOAT = "float"
    """A different binary float: a sum that depends on the order of its rows."""
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A difference, and the first node and column in which it was found; no column if a row is at fault."""

    kind: DifferenceKind
    node: NodeId
    column: str = ""


def draw_sets(nodes: Collection[NodeId], with_rows: Collection[NodeId]) -> list[list[NodeId]]:
    """Return sets of nodes to query: single ones with and without rows, pairs, and a tenth of all.

    >>> draw_sets([1, 2], [1])
    [[1], [2], [1, 2]]
    """
    random = Random(_SEED)  # noqa: S311  a sample, not a secret
    every = sorted(nodes, key=str)
    having = [node for node in every if node in with_rows]
    lacking = [node for node in every if node not in with_rows]
    singles = random.sample(having, min(len(having), _WITH_ROWS))
    singles += random.sample(lacking, min(len(lacking), _WITHOUT_ROWS))
    pairs = [sorted(random.sample(every, 2), key=str) for _ in range(_PAIRS) if len(every) > 1]
    tenth = random.sample(every, min(len(every) // _TENTH, _MOST))
    drawn = [*([one] for one in singles), *pairs, sorted(tenth, key=str)]
    return [list(one) for one in dict.fromkeys(tuple(one) for one in drawn if one)]


def compare_rows(
    report: Report,
    types: Mapping[str, str],
    whole: Mapping[NodeId, Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    asked: Collection[NodeId],
) -> Iterator[RowDifference]:
    """Yield the differences between rows queried for some nodes and those for all.

    Args:
        types: Postgres types of the columns.
        whole: the rows for all nodes, by node.
        rows: the rows for the queried nodes.
    """
    found = {node_of(row, report.scope): row for row in rows}
    for node, times in Counter(node_of(row, report.scope) for row in rows).items():
        if node not in asked:
            yield RowDifference(DifferenceKind.UNASKED, node)
        elif times > 1:
            yield RowDifference(DifferenceKind.REPEATED, node)
        elif node not in whole:
            yield RowDifference(DifferenceKind.EXTRA, node)
    for node in asked:
        if node in whole and node not in found:
            yield RowDifference(DifferenceKind.MISSING, node)
        elif node in whole:
            for column in _different_columns(report, whole[node], found[node]):
                kind = _kind_of(report, types, whole[node], found[node], column)
                yield RowDifference(kind, node, column)


def node_of(row: Mapping[str, Any], scope: str) -> NodeId:
    """Return the node of a row as trees name it."""
    node: NodeId | UUID = row[scope]
    return str(node) if isinstance(node, UUID) else node


def _different_columns(report: Report, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for measure in columns_of(report.rollup):
        how = report.rollup[measure]
        if _form(one[measure], measure, how) != _form(other[measure], measure, how):
            yield measure
    if (column := report.valid_until_column) and one[column] != other[column]:
        yield column


def _form(value: Any, measure: str, how: str) -> object:  # noqa: ANN401  the database's
    """Return a value as the roll-up sees it, with all digits."""
    checked = checked_value(value, measure, how)
    return checked if how == "distinct" else repr(checked)


def _kind_of(
    report: Report, types: Mapping[str, str], one: Mapping[str, Any], other: Mapping[str, Any], column: str
) -> DifferenceKind:
    """Return why a column differs: an order that leaves rows equal, a float's last digits, or anything else."""
    how = report.rollup.get(column, "")
    if how.startswith("of "):
        beside = how.removeprefix("of ")
        return DifferenceKind.TIE if one[beside] == other[beside] else DifferenceKind.VALUE
    if top := top_of(how):
        ranks = [
            [rank[: len(top.keys)] for rank, _ in checked_value(row[column], column, how)] for row in (one, other)
        ]
        return DifferenceKind.TIE if ranks[0] == ranks[1] else DifferenceKind.VALUE
    return DifferenceKind.FLOAT if types.get(column) in _FLOATS else DifferenceKind.VALUE
