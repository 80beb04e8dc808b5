"""Roll-up from direct rows to totals over every subtree: a pure walk from the leaves to the root.

Each node's total is its own row merged with its children's totals. The walk goes measure by measure, each as a
column, so that a roll-up is looked up once for a report and not for every number. The roll-ups are defined in
`reports.rollups`, their values and how these merge in `reports.measures`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import localcontext
from typing import Any, TypeAlias

from reports.averages import weighted_values
from reports.measures import (
    InvalidRows as InvalidRows,
    checked_value,
    is_plain,
    keys_alike,
    merge_function,
    neutral_value,
    rank_column,
    ratio_column,
    shown_column,
)
from reports.node_ids import InvalidIds, NodeId, read_ids
from reports.numbers import EXACT
from reports.rollups import columns_of, ratio_of, weight_of
from reports.tree import Tree

Row: TypeAlias = Mapping[str, Any]
"""Value of each measure, as the driver returns it."""
_Column: TypeAlias = Sequence[Any]
"""One measure's values: of the rows in their order, or of all nodes in the order ``tree.upwards``."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Measures of one node: of its own rows, and of its whole subtree. Values are ready for JSON.

    For a node without children both may be the same object.
    """

    own: dict[str, object] = field(repr=False)
    total: dict[str, object] = field(repr=False)


def roll_up(rows: Iterable[Row], *, scope: str, rollup: Mapping[str, str], tree: Tree) -> dict[NodeId, Totals]:
    """Compute own and total measures of every node of the tree.

    A measure with ``sql`` is computed by the query for the whole subtree, so it is only in the total.

    Args:
        rows: at most one per node; a node without a row has neutral values.
        scope: column with the node's id.
        rollup: roll-up of each measure, see :class:`reports.Report`.

    Raises:
        InvalidRows: a node is duplicate or unknown, a column is missing, or a value that its roll-up cannot use.
    """
    with localcontext(EXACT):
        return _rolled_up(list(rows), scope, rollup, tree)


def _rolled_up(given: Sequence[Row], scope: str, rollup: Mapping[str, str], tree: Tree) -> dict[NodeId, Totals]:
    nodes, given = _of_the_tree(given, _nodes(given, scope, tree), scope, tree)
    columns = {measure: rollup[measure] for measure in columns_of(rollup)}
    own = {measure: _checked(given, nodes, measure, how) for measure, how in columns.items()}
    own_shown = {measure: shown_column(own[measure], how) for measure, how in columns.items()}
    own_shown |= _own_averages(nodes, own, columns)
    total_shown = _totals(nodes, own, own_shown, columns, tree)
    direct = {measure: how for measure, how in rollup.items() if how != "sql"}
    own_of = dict(zip(nodes, _documents(own_shown, direct, len(nodes)), strict=True))
    total_of = zip(tree.upwards, _documents(total_shown, rollup, len(tree.upwards)), strict=True)
    empty = _nothing(direct)
    is_all_direct = len(direct) == len(rollup)
    return {
        node: Totals(mine := own_of.get(node, empty), mine if is_all_direct and not tree.children[node] else total)
        for node, total in total_of
    }


def _nodes(rows: Sequence[Row], scope: str, tree: Tree) -> list[NodeId]:
    """Return the node of each row. Raises InvalidRows for values that are not ids of the tree's type."""
    try:
        kind, nodes = read_ids(_values(rows, scope), scope)
    except InvalidIds as error:
        raise InvalidRows(str(error).removeprefix(f"{scope}: "), scope) from None
    if kind not in {None, tree.kind}:
        raise InvalidRows(f"is {kind}, and the tree's ids are {tree.kind}; cast it to {tree.kind.column}", scope)
    return nodes


def _of_the_tree(
    rows: Sequence[Row], nodes: list[NodeId], scope: str, tree: Tree
) -> tuple[list[NodeId], Sequence[Row]]:
    """Return the rows that count, and their nodes. Raises InvalidRows for a duplicate or unknown node."""
    seen: set[NodeId] = set()
    places = []
    for place, node in enumerate(nodes):
        if node in seen:
            raise InvalidRows(f"node {node} occurs twice; group the query by {scope}")
        seen.add(node)
        if known := tree.nodes.get(node):
            nodes[place] = known.id  # the tree's own object, which dictionaries find soonest
            places.append(place)
        elif node is None or not tree.leaves_out(node):
            named = "null" if node is None else node
            raise InvalidRows(f"node {named} is not in the tree; join the query with it")
    if len(places) == len(nodes):
        return nodes, rows
    return [nodes[place] for place in places], [rows[place] for place in places]


def _values(rows: Sequence[Row], column: str) -> _Column:
    try:
        return [row[column] for row in rows]
    except KeyError as error:
        raise InvalidRows(f"the query has no column {error}; check scope and rollup") from None


def _checked(rows: Sequence[Row], nodes: Sequence[NodeId], measure: str, how: str) -> _Column:
    """Return a column in the form that its roll-up merges."""
    values = _values(rows, measure)
    if is_plain(values, how):
        return values
    ready = []
    for node, value in zip(nodes, values, strict=True):
        try:
            ready.append(checked_value(value, measure, how))
        except InvalidRows as error:
            raise InvalidRows(f"{error.words} (node {node})", error.measure) from None
    return ready


def _totals(
    nodes: Sequence[NodeId],
    own: Mapping[str, _Column],
    own_shown: Mapping[str, _Column],
    columns: Mapping[str, str],
    tree: Tree,
) -> dict[str, _Column]:
    """Return every measure's totals, ready for JSON."""
    totals: dict[str, _Column] = {}
    for measure, how in columns.items():
        if how in {"min", "max"}:
            beside = [name for name, word in columns.items() if word == f"of {measure}"]
            totals |= _extremes(nodes, own, own_shown, (measure, *beside), how, tree)
        elif not how.startswith("of ") and not weight_of(how):
            mine = dict(zip(nodes, own[measure], strict=True))
            climbed = _climb(mine, neutral_value(how), merge_function(how), tree)
            if how == "sums":
                for of_root in _of_roots(climbed, tree):
                    _check_keys(of_root, measure, own[measure], nodes)
            try:
                totals[measure] = shown_column(climbed, how)
            except InvalidRows as error:
                raise InvalidRows(error.words, measure) from None
    return totals | _averages(nodes, own, totals, columns, tree)


def _averages(
    nodes: Sequence[NodeId],
    own: Mapping[str, _Column],
    totals: Mapping[str, _Column],
    columns: Mapping[str, str],
    tree: Tree,
) -> dict[str, _Column]:
    """Return the averages of all subtrees."""
    found: dict[str, _Column] = {}
    for measure, weight in _weights(columns).items():
        weighted = weighted_values(own[measure], own[weight], nodes, measure)
        sums = _climb(dict(zip(nodes, weighted, strict=True)), 0, merge_function("sum"), tree)
        found[measure] = ratio_column(sums, totals[weight], measure)
    return found


def _own_averages(
    nodes: Sequence[NodeId], own: Mapping[str, _Column], columns: Mapping[str, str]
) -> dict[str, _Column]:
    """Return the nodes' own averages in the form of those of subtrees."""
    return {
        measure: ratio_column(weighted_values(own[measure], own[weight], nodes, measure), own[weight], measure)
        for measure, weight in _weights(columns).items()
    }


def _weights(columns: Mapping[str, str]) -> dict[str, str]:
    return {measure: weight for measure, how in columns.items() if (weight := weight_of(how))}


def _of_roots(totals: Sequence[Any], tree: Tree) -> list[Any]:
    roots = set(tree.roots)
    return [total for node, total in zip(tree.upwards, totals, strict=True) if node in roots]


def _check_keys(of_root: Mapping[str, Any], measure: str, values: _Column, nodes: Sequence[NodeId]) -> None:
    """Raise if two different keys look the same; a root's total has the keys of all nodes below."""
    if alike := keys_alike(of_root):
        node = next(node for node, value in zip(nodes, values, strict=True) if alike[1] in value)
        told = f"the keys {alike[0]!a} and {alike[1]!a} look the same; write normalize(key) in the query"
        raise InvalidRows(f"{told} (node {node})", measure)


def _extremes(
    nodes: Sequence[NodeId],
    own: Mapping[str, _Column],
    own_shown: Mapping[str, _Column],
    names: Sequence[str],
    how: str,
    tree: Tree,
) -> dict[str, _Column]:
    """Return an extreme and the values beside it, all taken from the one row that has the extreme.

    The values beside it decide between equal extremes, so whole rows are merged, each with its rank.
    """
    ranks = rank_column([own[name] for name in names], how)
    mine = {node: (rank, place) for place, (node, rank) in enumerate(zip(nodes, ranks, strict=True))}
    chosen = _climb(mine, (None, None), merge_function(how), tree)
    return {name: [None if place is None else own_shown[name][place] for _, place in chosen] for name in names}


def _climb(
    own: Mapping[NodeId, Any],
    nothing: Any,  # noqa: ANN401  a column's
    gather: Callable[[Any, list[Any]], Any],
    tree: Tree,
) -> list[Any]:
    """Return the totals of a column, children before their parents."""
    totals = {node: own.get(node, nothing) for node in tree.upwards}
    for node, children in tree.inner:
        totals[node] = gather(totals[node], [totals[child] for child in children])
    return list(totals.values())


def _documents(columns: Mapping[str, _Column], rollup: Mapping[str, str], count: int) -> list[dict[str, object]]:
    """Return one object per node, measures in declared order; ratios are computed here, from shown values."""
    ready = dict(columns)
    for measure, how in rollup.items():
        if pair := ratio_of(how):
            ready[measure] = ratio_column(ready[pair[0]], ready[pair[1]], measure)
    if not rollup:
        return [{} for _ in range(count)]
    return [dict(zip(rollup, values, strict=True)) for values in zip(*(ready[one] for one in rollup), strict=True)]


def _nothing(direct: Mapping[str, str]) -> dict[str, object]:
    """Return the own measures of a node that has no row."""
    columns = {
        measure: shown_column([neutral_value(direct[measure])], direct[measure]) for measure in columns_of(direct)
    }
    return _documents(columns, direct, 1)[0]
