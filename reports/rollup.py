"""Roll-up from direct rows to totals over every subtree: a pure walk from the leaves to the root.

Each node's total is its own row merged with its children's totals. The walk goes measure by measure, each as a
column, so that a roll-up is looked up once for a report and not for every number. The roll-ups are defined in
`reports.rollups`, their values and how these merge in `reports.measures`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import localcontext
from typing import Any, TypeAlias

from reports.averages import weighted_values
from reports.different_ids import change_sets
from reports.measures import (
    Gather,
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
"""One measure's values: of the rows in their order, or of nodes, children before their parents."""
_ASKED = "write = ANY(:nodes) wherever rows are selected; see ./run ops reports check"


class UnaskedNode(InvalidRows):
    """A query for some nodes returned a node that was not requested."""


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
    return RolledUp(scope=scope, rollup=rollup, tree=tree).roll_up(rows)


class RolledUp:
    """Columns of a report over its tree, kept so that a few nodes can be rolled up again.

    Each measure has two columns, by node: the values of the nodes' own rows, and those of their subtrees in the
    form that merges. A node's total depends on its own row and its children's totals alone. So after a change of
    some nodes' rows only they and their ancestors are merged again, by the same functions and in the same order as
    in the whole, and every value is the same to the last digit.
    """

    def __init__(self, *, scope: str, rollup: Mapping[str, str], tree: Tree) -> None:
        self._scope = scope
        self._rollup = rollup
        self._tree = tree
        self._columns = {measure: rollup[measure] for measure in columns_of(rollup)}
        self._direct = {measure: how for measure, how in rollup.items() if how != "sql"}
        self._empty = _nothing(self._direct)
        self._own: dict[str, dict[NodeId, Any]] = {}
        self._merged: dict[str, dict[NodeId, Any]] = {}

    def roll_up(self, rows: Iterable[Row]) -> dict[NodeId, Totals]:
        """Compute the totals of all nodes. Raises InvalidRows."""
        with localcontext(EXACT):
            nodes, own = self._read(list(rows))
            self._own = {measure: dict(zip(nodes, column, strict=True)) for measure, column in own.items()}
            self._merged = {}
            return self._totals(_Part(nodes, own, self._tree.upwards, self._tree.inner))

    def roll_up_again(self, rows: Iterable[Row], asked: Collection[NodeId]) -> dict[NodeId, Totals]:
        """Compute the totals of these nodes and of their ancestors.

        After an error the columns are not usable.

        Args:
            rows: rows of these nodes; a node that has none now has neutral values.
            asked: nodes whose rows may have changed, all of the tree.

        Raises:
            InvalidRows: as for all nodes; or a row belongs to a node that was not requested.
        """
        with localcontext(EXACT):
            nodes, own = self._read(list(rows))
            if odd := set(nodes).difference(asked):
                named = f"node {min(odd, key=str)}"
                raise UnaskedNode(f"the query for some nodes returned {named}, which is not one of them; {_ASKED}")
            former = {measure: self._replace(measure, nodes, column, asked) for measure, column in own.items()}
            return self._totals(self._above(asked, former))

    def _replace(
        self, measure: str, nodes: Sequence[NodeId], column: _Column, asked: Collection[NodeId]
    ) -> Mapping[NodeId, Any]:
        """Replace the values of these nodes in a column, and return the former ones."""
        values, nothing = self._own[measure], neutral_value(self._columns[measure])
        former = {node: values.pop(node, nothing) for node in asked}
        values.update(zip(nodes, column, strict=True))
        return former

    def _read(self, rows: Sequence[Row]) -> tuple[list[NodeId], dict[str, _Column]]:
        """Return the nodes of the rows that count, and each measure in the form that its roll-up merges."""
        nodes, rows = rows_of_tree(rows, scope=self._scope, tree=self._tree)
        return nodes, {measure: _checked(rows, nodes, measure, how) for measure, how in self._columns.items()}

    def _above(self, asked: Collection[NodeId], former: Mapping[str, Mapping[NodeId, Any]]) -> "_Part":
        """Return the part of the tree that consists of these nodes and their ancestors."""
        paths, children = self._tree.paths, self._tree.children
        upwards = sorted({node for one in asked for node in paths[one]}, key=lambda node: -len(paths[node]))
        with_rows = next(iter(self._own.values()), {})
        nodes = [node for node in upwards if node in with_rows]
        own = {measure: [column[node] for node in nodes] for measure, column in self._own.items()}
        inner = [(node, children[node]) for node in upwards if children[node]]
        return _Part(nodes, own, upwards, inner, former)

    def _totals(self, part: "_Part") -> dict[NodeId, Totals]:
        own_shown = {measure: shown_column(part.own[measure], how) for measure, how in self._columns.items()}
        own_shown |= self._own_averages(part)
        total_shown = self._merge_columns(part, own_shown)
        own_of = dict(zip(part.nodes, _documents(own_shown, self._direct, len(part.nodes)), strict=True))
        total_of = zip(part.upwards, _documents(total_shown, self._rollup, len(part.upwards)), strict=True)
        is_all_direct, children = len(self._direct) == len(self._rollup), self._tree.children
        return {
            node: Totals(
                mine := own_of.get(node, self._empty), mine if is_all_direct and not children[node] else total
            )
            for node, total in total_of
        }

    def _merge_columns(self, part: "_Part", own_shown: Mapping[str, _Column]) -> dict[str, _Column]:
        """Return every measure's totals, ready for JSON."""
        totals: dict[str, _Column] = {}
        for measure, how in self._columns.items():
            if how in {"min", "max"}:
                beside = [name for name, word in self._columns.items() if word == f"of {measure}"]
                totals |= self._extremes(part, own_shown, (measure, *beside), how)
            elif not how.startswith("of ") and not weight_of(how):
                if how == "distinct" and part.former is not None:
                    merged = self._change_sets(part, measure, part.former[measure])
                else:
                    merged = self._merge(
                        part, measure, self._own[measure], neutral_value(how), merge_function(how)
                    )
                if how == "sums":
                    self._check_keys(part, measure)
                try:
                    totals[measure] = shown_column(merged, how)
                except InvalidRows as error:
                    raise InvalidRows(error.words, measure) from None
        return totals | self._averages(part, totals)

    def _merge(
        self,
        part: "_Part",
        measure: str,
        own: Mapping[NodeId, Any],
        nothing: Any,  # noqa: ANN401  a column's
        gather: Gather,
    ) -> list[Any]:
        """Merge a column within the part, children before their parents, and return it there."""
        merged = self._merged.setdefault(measure, {})
        for node in part.upwards:
            merged[node] = own.get(node, nothing)
        for node, children in part.inner:
            merged[node] = gather(merged[node], [merged[child] for child in children])
        return [merged[node] for node in part.upwards]

    def _change_sets(self, part: "_Part", measure: str, former: Mapping[NodeId, Any]) -> list[Any]:
        """Do for sets what `_merge` does, at the cost of what changed."""
        merged, own = self._merged[measure], self._own[measure]
        change_sets(merged, former=former, own=own, upwards=part.upwards, children=self._tree.children)
        return [merged[node] for node in part.upwards]

    def _extremes(
        self, part: "_Part", own_shown: Mapping[str, _Column], names: Sequence[str], how: str
    ) -> dict[str, _Column]:
        """Return an extreme and the values beside it, all taken from the one row that has the extreme.

        The values beside it decide between equal extremes, so whole rows are merged, each with its rank.
        """
        ranks = rank_column([part.own[name] for name in names], how)
        shown = zip(*(own_shown[name] for name in names), strict=True)
        mine = dict(zip(part.nodes, zip(ranks, shown, strict=True), strict=True))
        nothing = None, (None,) * len(names)
        chosen = self._merge(part, names[0], mine, nothing, merge_function(how))
        return {name: [values[place] for _, values in chosen] for place, name in enumerate(names)}

    def _averages(self, part: "_Part", totals: Mapping[str, _Column]) -> dict[str, _Column]:
        """Return the averages of the part's subtrees."""
        found: dict[str, _Column] = {}
        for measure, weight in _weights(self._columns).items():
            weighted = weighted_values(part.own[measure], part.own[weight], part.nodes, measure)
            mine = dict(zip(part.nodes, weighted, strict=True))
            sums = self._merge(part, measure, mine, 0, merge_function("sum"))
            found[measure] = ratio_column(sums, totals[weight], measure)
        return found

    def _own_averages(self, part: "_Part") -> dict[str, _Column]:
        """Return the nodes' own averages in the form of those of subtrees."""
        own = part.own
        return {
            measure: ratio_column(
                weighted_values(own[measure], own[weight], part.nodes, measure), own[weight], measure
            )
            for measure, weight in _weights(self._columns).items()
        }

    def _check_keys(self, part: "_Part", measure: str) -> None:
        """Raise if two different keys look the same; a root's total has the keys of all nodes below."""
        merged, own = self._merged[measure], self._own[measure]
        in_part = set(part.upwards)
        for root in self._tree.roots:
            if root in in_part and (alike := keys_alike(merged[root])):
                node = next(node for node, value in own.items() if alike[1] in value)
                told = f"the keys {alike[0]!a} and {alike[1]!a} look the same; write normalize(key) in the query"
                raise InvalidRows(f"{told} (node {node})", measure)


@dataclass(frozen=True, slots=True)
class _Part:
    """Part of a tree that is rolled up: some nodes with all their ancestors.

    Attributes:
        nodes: those of them that have rows, in the order of the columns ``own``.
        upwards: all of them, every child before its parent.
        inner: those that have children, with their children; every inner child before its parent.
        former: values of each measure before, of the nodes whose rows are new; None: all columns are new.
    """

    nodes: Sequence[NodeId]
    own: Mapping[str, _Column]
    upwards: Sequence[NodeId]
    inner: Sequence[tuple[NodeId, list[NodeId]]]
    former: Mapping[str, Mapping[NodeId, Any]] | None = None


def rows_of_tree(rows: Sequence[Row], *, scope: str, tree: Tree) -> tuple[list[NodeId], Sequence[Row]]:
    """Return the nodes of the rows that count, and these rows.

    Raises:
        InvalidRows: a node is duplicate, or not in the tree although its rules leave no node out.
    """
    return _of_the_tree(rows, _nodes(rows, scope, tree), scope, tree)


def _nodes(rows: Sequence[Row], scope: str, tree: Tree) -> list[NodeId]:
    """Return the node of each row. Raises InvalidRows for values that are not ids of the tree's type."""
    try:
        kind, nodes = read_ids(_values(rows, scope), scope)
    except InvalidIds as error:
        raise InvalidRows(str(error).removeprefix(f"{scope}: "), scope) from None
    if kind not in {None, tree.kind}:
        raise InvalidRows(f"is {kind}, but the tree's ids are {tree.kind}; cast it to {tree.kind.column}", scope)
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


def _weights(columns: Mapping[str, str]) -> dict[str, str]:
    return {measure: weight for measure, how in columns.items() if (weight := weight_of(how))}


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
