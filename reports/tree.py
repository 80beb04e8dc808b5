"""Org tree of one refresh: validated, and ordered so that children come before their parents."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from reports.cycles import find_cycles, told as words_of
from reports.node_ids import IdKind, NodeId, id_json
from reports.orphans import Hanging, hang
from reports.sql_words import value_in_sql
from reports.tree_rules import LEAVE_OUT, ONE_ROOT, TreeRules

_MOST_TOLD = 5
"""Largest number of faults of one sort in a message."""
_NONE_LEFT = f'no node is left: the roots are deleted or missing, and orphans = "{LEAVE_OUT}" leaves out all below'


class InvalidTree(ValueError):
    """The rows of the tree query do not form a tree; the refresh stops and the last good set stays."""


@dataclass(slots=True)  # not frozen, which takes twice as long to make; a tree has thousands
class Node:
    """Node as the tree query returned it.

    Attributes:
        parent_id: its parent, or the nearest ancestor that the query returned; None: it has none.
        names: its names by language; None: the tree declares no languages.
        deleted: True if it is not a node of the tree, but ancestors may be found through it.
        missing: parent that the query did not return, for errors; empty: it did, or ``parent_id`` is that parent.
    """

    id: NodeId
    parent_id: NodeId | None
    name: str = field(repr=False)
    kind: str | None
    names: Mapping[str, str] | None = field(default=None, repr=False)
    deleted: bool = False
    missing: str = ""


@dataclass(frozen=True)  # no slots: cached properties keep what all reports of a board share
class Tree:
    """A tree, or several side by side.

    Attributes:
        nodes: nodes by id.
        upwards: ids, every child before its parent.
        children: ids of each node's children, in order.
        paths: path from the root to each node, both included.
        kind: type of the ids.
        roots: nodes without a parent.
        rules: rules of the tree.
        left_out: nodes that are deleted, or that the rules leave out.
    """

    nodes: Mapping[NodeId, Node]
    upwards: list[NodeId]
    children: Mapping[NodeId, list[NodeId]]
    paths: Mapping[NodeId, list[NodeId]]
    kind: IdKind
    roots: list[NodeId]
    rules: TreeRules = ONE_ROOT
    left_out: frozenset[NodeId] = frozenset()

    def leaves_out(self, node_id: NodeId) -> bool:
        """Return True if rows of a node that is not in the tree do not count, and False if they are a fault."""
        return node_id in self.left_out or self.rules.orphans == LEAVE_OUT

    @cached_property
    def inner(self) -> Sequence[tuple[NodeId, list[NodeId]]]:
        """Nodes with children, each with its children; inner children come before their parents."""
        return [(node_id, self.children[node_id]) for node_id in self.upwards if self.children[node_id]]

    @property
    def has_digest(self) -> bool:
        """True if the digest is computed already."""
        return "digest" in self.__dict__

    @cached_property
    def digest(self) -> str:
        """16 hex digits over all paths; they differ if a node came, left or moved."""
        paths = b"\n".join([self.paths_json[node_id] for node_id in sorted(self.nodes)])
        return hashlib.blake2b(paths, digest_size=8).hexdigest()

    @cached_property
    def paths_json(self) -> Mapping[NodeId, bytes]:
        """Paths as JSON, by node."""
        if self.kind is IdKind.INTEGER:
            return {node_id: orjson.dumps(path) for node_id, path in self.paths.items()}
        found: dict[NodeId, bytes] = {}
        for node_id, path in self.paths.items():
            above = found[path[-2]][:-1] + b"," if len(path) > 1 else b"["
            found[node_id] = above + id_json(node_id) + b"]"
        return found

    @cached_property
    def nodes_json(self) -> Mapping[NodeId, bytes]:
        """Each node as its documents show it, as JSON."""
        paths, children = self.paths_json, self.children
        return {
            node_id: _node_json(node, node_id, orjson.Fragment(paths[node_id]), children[node_id])
            for node_id, node in self.nodes.items()
        }

    @cached_property
    def nodes_json_of_texts(self) -> Mapping[NodeId, bytes]:
        """Each node as its documents show it, as JSON with ids as strings."""
        return {
            node.id: _node_json(
                node, str(node.id), list(map(str, self.paths[node.id])), list(map(str, self.children[node.id]))
            )
            for node in self.nodes.values()
        }


def _node_json(node: Node, shown_id: NodeId, path: object, children: object) -> bytes:
    shown = {"id": shown_id, "name": node.name, "kind": node.kind, "path": path, "children": children}
    return orjson.dumps(shown if node.names is None else shown | {"names": node.names})


def grow_tree(rows: Iterable[Node], rules: TreeRules = ONE_ROOT, kind: IdKind | None = None) -> Tree:
    """Build the tree of these nodes.

    Args:
        kind: type of the ids; None: integers or texts, as they are.

    Raises:
        InvalidTree: no root, several that are not declared, a duplicate node, one without name, orphans that the
            rules refuse, or cycles. The message has all faults.
    """
    faults: list[str] = []
    nodes = _by_id(rows, faults)
    hanging = hang(nodes, rules)
    faults += _some(hanging.faults)
    parents = hanging.parents
    children: dict[NodeId, list[NodeId]] = {node_id: [] for node_id in parents}
    roots = []
    for node_id in sorted(parents):
        parent = parents[node_id]
        if parent is None:
            roots.append(node_id)
        elif parent in children:
            children[parent].append(node_id)
    paths = _paths(roots, children)
    faults += _faults_of_roots(roots, nodes, hanging, rules)
    if faults or len(paths) != len(nodes):
        faults += _faults_of_cycles(nodes)
    if faults:
        raise InvalidTree("; ".join(faults))
    living = nodes if len(parents) == len(nodes) else {node_id: nodes[node_id] for node_id in parents}
    return Tree(
        living, list(reversed(paths)), children, paths, kind or _kind_of(nodes), roots, rules, hanging.left_out
    )


def _by_id(rows: Iterable[Node], faults: list[str]) -> dict[NodeId, Node]:
    nodes: dict[NodeId, Node] = {}
    wrong: list[str] = []
    for node in rows:
        if (
            node.id in nodes
            or type(node.name) is not str
            or (type(node.kind) is not str and node.kind is not None)
        ):
            wrong += _faults_of_node(node, nodes)
        nodes[node.id] = node
    faults += _some(wrong)
    return nodes


def _faults_of_node(node: Node, nodes: Mapping[NodeId, Node]) -> Iterator[str]:
    values: dict[str, Any] = {"name": node.name, "kind": node.kind or ""}
    for what, value in values.items():
        if not isinstance(value, str):
            yield f"node {node.id} has the {what} {value_in_sql(value)}; it must be text"
    if node.id in nodes:
        yield f"node {node.id} occurs twice; return each node once"


def _some(faults: list[str]) -> list[str]:
    """Return the first faults of one sort, and the number of the others."""
    more = [f"and {len(faults) - _MOST_TOLD} more like this"] if len(faults) > _MOST_TOLD else []
    return faults[:_MOST_TOLD] + more


def _faults_of_roots(
    roots: list[NodeId], nodes: Mapping[NodeId, Node], hanging: Hanging, rules: TreeRules
) -> list[str]:
    if not nodes:
        return ["the query returned no rows; a tree has at least one node"]
    if len(hanging.left_out) == len(nodes):
        told = "all nodes are deleted" if all(one.deleted for one in nodes.values()) else _NONE_LEFT
        return [f"{told}; a tree has at least one node"]
    if hanging.faults:  # refused orphans are not roots
        roots = [one for one in roots if nodes[one].parent_id is None and not nodes[one].missing]
    if len(roots) == 1 or (roots and rules.several_roots) or (not roots and hanging.faults):
        return []
    told = f"the tree must have one root; nodes without a parent: {roots[:_MOST_TOLD] or 'none'}"
    return [f'{told}; if it has several, write roots = "several" in the head of its file' if roots else told]


def _faults_of_cycles(nodes: Mapping[NodeId, Node]) -> list[str]:
    cycles = find_cycles({node.id: node.parent_id for node in nodes.values()})
    return _some([words_of(cycle) for cycle in cycles])


def _kind_of(nodes: Mapping[NodeId, Node]) -> IdKind:
    return IdKind.INTEGER if all(isinstance(node_id, int) for node_id in nodes) else IdKind.TEXT


def _paths(roots: list[NodeId], children: Mapping[NodeId, list[NodeId]]) -> dict[NodeId, list[NodeId]]:
    """Return the paths, parents before children. The nodes of a cycle are missing."""
    paths = {root: [root] for root in roots}
    waiting = list(roots)
    while waiting:
        parent = waiting.pop()
        for child in children[parent]:
            paths[child] = [*paths[parent], child]
            waiting.append(child)
    return paths
