"""From direct rows to totals over every subtree: a pure walk from the leaves to the root.

Each node's total begins as its own row and is merged into its parent's once all its children are in. What a
roll-up means is in `jobs.reports.rollups`, what its values are in `measures`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.reports.rollups import columns_of, top_of
from worker.reports.measures import InvalidRows as InvalidRows, checked, first, neutral, shown
from worker.reports.tree import Tree

Row = Mapping[str, Any]
"""Measure to value, as the driver gives them."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Measures of one node: its own rows, and its whole subtree's. Values are ready for JSON."""

    own: dict[str, object]
    total: dict[str, object]


def roll_up(rows: Iterable[Row], *, scope: str, rollup: Mapping[str, str], tree: Tree) -> dict[int, Totals]:
    """Own and total measures of every node of the tree.

    A measure with ``sql`` is the subtree's by the query's own reckoning: it is in the total alone.

    Args:
        rows: at most one per node; a node without one has nothing.
        scope: the column with the node's id.
        rollup: measure to roll-up, as :class:`jobs.reports.Report` has it.

    Raises:
        InvalidRows: a node twice or unknown, a column missing, or a value that its roll-up cannot use.
    """
    columns = {measure: rollup[measure] for measure in columns_of(rollup)}
    direct = {measure: how for measure, how in rollup.items() if how != "sql"}
    own = _own(rows, scope, columns, tree)
    nothing = {measure: neutral(how) for measure, how in columns.items()}
    sums: dict[int, dict[str, Any]] = {}
    for node_id in tree.upwards:
        total = dict(own.get(node_id, nothing))
        for child in tree.children[node_id]:
            _merge(total, sums[child], columns)
        sums[node_id] = total
    empty = _direct(nothing, direct)
    return {
        node_id: Totals(_direct(own[node_id], direct) if node_id in own else empty, shown(total, rollup))
        for node_id, total in sums.items()
    }


def _direct(values: Mapping[str, Any], direct: Mapping[str, str]) -> dict[str, object]:
    return shown({measure: values[measure] for measure in direct if measure in values}, direct)


def _own(rows: Iterable[Row], scope: str, columns: Mapping[str, str], tree: Tree) -> dict[int, dict[str, Any]]:
    own: dict[int, dict[str, Any]] = {}
    for row in rows:
        try:
            node_id, values = row[scope], {measure: row[measure] for measure in columns}
        except KeyError as error:
            raise InvalidRows(f"the query has no column {error}; check scope and rollup") from None
        if node_id in own:
            raise InvalidRows(f"node {node_id} comes twice; group the query by {scope}")
        if node_id not in tree.nodes:
            raise InvalidRows(f"node {node_id} is not in the tree; join the query with it")
        try:
            own[node_id] = {measure: checked(values[measure], measure, how) for measure, how in columns.items()}
        except InvalidRows as error:
            raise InvalidRows(f"{error.words} (node {node_id})", error.measure) from None
    return own


def _merge(total: dict[str, Any], child: dict[str, Any], columns: Mapping[str, str]) -> None:
    for measure, how in columns.items():
        match how:
            case "sum":
                total[measure] += child[measure]
            case "distinct":
                if child[measure]:
                    total[measure] = total[measure] | child[measure]
            case "any":
                total[measure] = total[measure] or child[measure]
            case "sums":
                total[measure] = _sums(total[measure], child[measure])
            case "min" | "max":
                _choose(total, child, measure, how, columns)
            case _:
                if child[measure] and (top := top_of(how)):
                    total[measure] = first(top, [*total[measure], *child[measure]])


def _sums(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Two of them added key by key, in a new one: the old may be another node's."""
    if not mine or not theirs:
        return mine or theirs
    both = dict(mine)
    for key, number in theirs.items():
        both[key] = both.get(key, 0) + number
    return both


def _choose(
    total: dict[str, Any], child: dict[str, Any], measure: str, how: str, columns: Mapping[str, str]
) -> None:
    """Take the child's extreme and all that stands beside it; equal ones are decided by what stands beside."""
    if child[measure] is None:
        return
    beside = [other for other, word in columns.items() if word == f"of {measure}"]
    mine, theirs = ([_rank(side[name], how) for name in (measure, *beside)] for side in (total, child))
    if total[measure] is None or (theirs < mine if how == "min" else theirs > mine):
        for name in (measure, *beside):
            total[name] = child[name]


def _rank(value: Any, how: str) -> tuple[bool, Any]:  # noqa: ANN401  values are the database's
    """What values are compared by; the absent ones lose."""
    return ((value is None) == (how == "min"), 0 if value is None else value)
