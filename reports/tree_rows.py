"""Nodes of a tree from the rows of its query, in whichever of three ways the application stores the tree.

    parent_id    id of the parent, null for a root
    path         labels from the root to the node with a separator between them, or an ltree; the parent is the
                 node with the same path less its last label. A path may begin and end with a separator
    ancestors    array of the ids of all ancestors in any order, as in a closure table; the node may be in it

A query with several of these columns uses the first. Other columns: `id`, `name`, `kind`, and with declared
`orphans` a boolean `deleted`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from reports.node_ids import IdKind, InvalidIds, NodeId, read_ids
from reports.node_names import InvalidNames, read_names
from reports.sql_words import value_in_sql
from reports.tree import InvalidTree, Node, Tree, grow_tree
from reports.tree_rules import TreeRules

Rows = Sequence[Mapping[str, Any]]
PARENTS = ("parent_id", "path", "ancestors")
_Parent = tuple[NodeId | None, str]
"""The nearest ancestor among the rows, and the parent if it is not among them; see `Node`."""
_MOST_TOLD = 5


def missing_column(columns: Mapping[str, str], rules: TreeRules) -> str:
    """Return what the query of a tree lacks; empty if nothing.

    Args:
        columns: Postgres types by name.

    >>> missing_column({"id": "int8", "name": "text", "kind": "text", "path": "ltree"}, TreeRules())
    ''
    """
    told = "it must return id, parent_id (or path, or ancestors), name, kind"
    for name in ("id", "name", "kind"):
        if name not in columns:
            return f"the query has no column {name!r}; {told}"
    if not any(name in columns for name in PARENTS):
        return f"the query has no column 'parent_id'; {told}"
    if "parent_id" not in columns and "path" not in columns and not columns["ancestors"].endswith("[]"):
        return f"ancestors: is {columns['ancestors']} and must be an array, as array_agg(ancestor_id) makes it"
    if rules.orphans and columns.get("deleted", "bool") != "bool":
        return f"deleted: is {columns['deleted']} and must be boolean, as in deleted_at IS NOT NULL AS deleted"
    return ""


def tree_of_rows(rows: Rows, columns: Mapping[str, str], rules: TreeRules) -> Tree:
    """Build the tree of a query's rows.

    Args:
        columns: Postgres types by name.

    Raises:
        InvalidTree: the rows do not form a tree; the message lists all faults of one kind.
    """
    if fault := missing_column(columns, rules):
        raise InvalidTree(fault)
    try:
        kind, ids = read_ids([row["id"] for row in rows], "id")
        if None in ids:
            raise InvalidTree("id: is null in a row; each node needs an id")
        parents = _PARENTS[next(name for name in PARENTS if name in columns)](rows, ids, kind, columns, rules)
        names = read_names([row["name"] for row in rows], ids, columns["name"], rules.languages)
    except (InvalidIds, InvalidNames) as error:
        raise InvalidTree(str(error)) from None
    reads_deleted = bool(rules.orphans) and "deleted" in columns
    if reads_deleted and (unknown := [str(row["id"]) for row in rows if row["deleted"] is None]):
        told = f"deleted: is null for {_few(unknown)}"
        raise InvalidTree(f"{told}; return true or false, as in deleted_at IS NOT NULL AS deleted")
    nodes = (
        Node(node_id, parent, name, row["kind"], translated, reads_deleted and bool(row["deleted"]), missing)
        for row, node_id, (parent, missing), (name, translated) in zip(rows, ids, parents, names, strict=True)
    )
    return grow_tree(nodes, rules, kind)


def _by_parent_id(
    rows: Rows, ids: Sequence[NodeId], kind: IdKind | None, columns: Mapping[str, str], rules: TreeRules
) -> Iterator[_Parent]:
    del ids, columns, rules
    of_parents, parents = read_ids([row["parent_id"] for row in rows], "parent_id")
    if of_parents not in {None, kind}:
        raise InvalidTree(f"parent_id: is {of_parents}, but id is {kind}; cast one of them")
    return ((parent, "") for parent in parents)


def _by_path(
    rows: Rows, ids: Sequence[NodeId], kind: IdKind | None, columns: Mapping[str, str], rules: TreeRules
) -> Iterator[_Parent]:
    del kind
    separator = rules.separator or ("." if columns["path"] == "ltree" else "/")
    labels = [
        _labels(row["path"], separator, f"path of node {node_id}") for row, node_id in zip(rows, ids, strict=True)
    ]
    at = dict(zip(labels, ids, strict=True))
    if len(at) != len(labels):
        seen: dict[tuple[str, ...], NodeId] = {}
        for path, node_id in zip(labels, ids, strict=True):
            if (other := seen.setdefault(path, node_id)) is not node_id:
                raise InvalidTree(
                    f"path: {separator.join(path)!a} is the path of two nodes, {other} and {node_id}; make paths "
                    "unique"
                )
    return (_above(path, at, separator) for path in labels)


def _labels(path: object, separator: str, where: str) -> tuple[str, ...]:
    if not isinstance(path, str):
        raise InvalidTree(f"{where} is {value_in_sql(path)}; it must be text or ltree")
    labels = tuple(path.removeprefix(separator).removesuffix(separator).split(separator))
    if "" in labels:
        raise InvalidTree(f"{where} has an empty label, {path[:80]!a}; separate labels by {separator!a}")
    return labels


def _above(path: tuple[str, ...], at: Mapping[tuple[str, ...], NodeId], separator: str) -> _Parent:
    missing = ""
    for length in range(len(path) - 1, 0, -1):
        if (parent := at.get(path[:length])) is not None:
            return parent, missing
        missing = missing or ascii(separator.join(path[:length]))
    return None, missing


def _by_ancestors(
    rows: Rows, ids: Sequence[NodeId], kind: IdKind | None, columns: Mapping[str, str], rules: TreeRules
) -> Iterator[_Parent]:
    del columns, rules
    found: dict[NodeId, frozenset[NodeId]] = {}
    for row, node_id in zip(rows, ids, strict=True):
        its_kind, ancestors = read_ids(row["ancestors"] or [], "ancestors")
        if its_kind not in {None, kind}:
            raise InvalidTree(f"ancestors: are {its_kind}, but id is {kind}; cast one of them")
        found[node_id] = frozenset(ancestors) - {node_id, None}
    parents = {node_id: _nearest(ancestors, found) for node_id, ancestors in found.items()}
    told = [fault for node_id in found if (fault := _fault_of_closure(node_id, parents[node_id][0], found))]
    if faults := list(dict.fromkeys(told)):  # a cycle is a fault of each of its nodes
        more = f"; and {len(faults) - _MOST_TOLD} more like this" if len(faults) > _MOST_TOLD else ""
        raise InvalidTree(f"ancestors: {'; '.join(faults[:_MOST_TOLD])}{more}")
    return (parents[node_id] for node_id in ids)


def _nearest(ancestors: frozenset[NodeId], found: Mapping[NodeId, frozenset[NodeId]]) -> _Parent:
    """Return the ancestor with the most ancestors: those of a node are a chain, and its parent is the last."""
    there = [one for one in ancestors if one in found]
    if not there:
        return None, _told(ancestors)
    nearest = max(there, key=lambda one: (len(found[one]), str(one)))
    between = ancestors - found[nearest] - {nearest}
    return nearest, _told(between)


def _few(ids: Sequence[str]) -> str:
    """Return the first few ids as text.

    >>> _few(["1"]), _few(["1", "2"])
    ('node 1', 'nodes 1, 2')
    """
    more = f" and {len(ids) - _MOST_TOLD} more" if len(ids) > _MOST_TOLD else ""
    return f"node{'s' if len(ids) > 1 else ''} {', '.join(ids[:_MOST_TOLD])}{more}"


def _told(missing: frozenset[NodeId]) -> str:
    return " or ".join(sorted(map(str, missing))[:_MOST_TOLD])


def _fault_of_closure(node_id: NodeId, parent: NodeId | None, found: Mapping[NodeId, frozenset[NodeId]]) -> str:
    """Return why these ancestors are not those of a tree; empty if they are."""
    if parent is None:
        return ""
    if node_id in found[parent]:
        first, second = sorted((node_id, parent), key=lambda one: (isinstance(one, str), one))
        return f"the nodes {first} and {second} are each other's ancestors, a cycle"
    mine = {one for one in found[node_id] if one in found} - {parent}
    if odd := sorted(mine ^ {one for one in found[parent] if one in found}, key=str):
        return f"node {node_id} is below {parent}, and {odd[0]} is an ancestor of only one of them"
    return ""


_PARENTS: Mapping[str, Callable[..., Iterator[_Parent]]] = {
    "parent_id": _by_parent_id,
    "path": _by_path,
    "ancestors": _by_ancestors,
}
