"""Org tree of one refresh: validated, and ordered so that children come before their parents."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import orjson


class InvalidTree(ValueError):
    """The rows of the tree query do not form a tree; the refresh stops and the last good set stays."""


@dataclass(frozen=True, slots=True)
class Node:
    """Node as the tree query returned it."""

    id: int
    parent_id: int | None
    name: str = field(repr=False)
    kind: str


@dataclass(frozen=True)  # no slots: cached properties keep what all reports of a board share
class Tree:
    """A tree with one root.

    Attributes:
        nodes: nodes by id.
        upwards: ids, every child before its parent.
        children: ids of each node's children, in order.
        paths: path from the root to each node, both included.
    """

    nodes: Mapping[int, Node]
    upwards: list[int]
    children: Mapping[int, list[int]]
    paths: Mapping[int, list[int]]

    @cached_property
    def inner(self) -> Sequence[tuple[int, list[int]]]:
        """Nodes that have children, with these; every inner child before its parent."""
        return [(node_id, self.children[node_id]) for node_id in self.upwards if self.children[node_id]]

    @property
    def roots(self) -> list[int]:
        """Nodes without a parent."""
        return [node.id for node in self.nodes.values() if node.parent_id is None]

    @cached_property
    def digest(self) -> str:
        """16 hex digits over all paths; they differ if a node came, left or moved."""
        paths = b"\n".join([self.paths_json[node_id] for node_id in sorted(self.nodes)])
        return hashlib.blake2b(paths, digest_size=8).hexdigest()

    @cached_property
    def paths_json(self) -> Mapping[int, bytes]:
        """Paths as JSON, by node."""
        return {node_id: orjson.dumps(path) for node_id, path in self.paths.items()}

    @cached_property
    def nodes_json(self) -> Mapping[int, bytes]:
        """Each node as its documents show it, as JSON."""
        return {
            node.id: orjson.dumps(
                {
                    "id": node.id,
                    "name": node.name,
                    "kind": node.kind,
                    "path": orjson.Fragment(self.paths_json[node.id]),
                    "children": self.children[node.id],
                }
            )
            for node in self.nodes.values()
        }

    @cached_property
    def nodes_json_of_texts(self) -> Mapping[int, bytes]:
        """Each node as its documents show it, as JSON with ids as strings."""
        return {
            node.id: orjson.dumps(
                {
                    "id": str(node.id),
                    "name": node.name,
                    "kind": node.kind,
                    "path": list(map(str, self.paths[node.id])),
                    "children": list(map(str, self.children[node.id])),
                }
            )
            for node in self.nodes.values()
        }


def grow_tree(rows: Iterable[Node]) -> Tree:
    """Build the tree of these nodes.

    Raises:
        InvalidTree: no root, two roots, a duplicate node, one without id or name, an unknown parent or a cycle.
    """
    nodes = _by_id(rows)
    children: dict[int, list[int]] = {node_id: [] for node_id in nodes}
    roots = []
    for node in sorted(nodes.values(), key=lambda node: node.id):
        if node.parent_id is None:
            roots.append(node.id)
        elif node.parent_id in children:
            children[node.parent_id].append(node.id)
        else:
            raise InvalidTree(f"node {node.id} has the parent {node.parent_id}, which the query does not return")
    if len(roots) != 1:
        raise InvalidTree(f"the tree must have one root; nodes without a parent: {roots[:5] or 'none'}")
    paths = _paths(roots[0], children)
    if len(paths) != len(nodes):
        lost = sorted(nodes.keys() - paths.keys())[:5]
        raise InvalidTree(f"these nodes form a cycle and have no path to the root: {lost}")
    return Tree(nodes, list(reversed(paths)), children, paths)


def _by_id(rows: Iterable[Node]) -> dict[int, Node]:
    nodes: dict[int, Node] = {}
    for node in rows:
        if not isinstance(node.id, int) or isinstance(node.id, bool):
            raise InvalidTree(f"a node has the id {node.id!r}; ids must be whole numbers")
        if not isinstance(node.name, str):
            raise InvalidTree(f"node {node.id} has the name {node.name!r}; it must be text, coalesce(name, '')")
        if not isinstance(node.kind, str | None):
            raise InvalidTree(f"node {node.id} has the kind {node.kind!r}; it must be text or null")
        if node.id in nodes:
            raise InvalidTree(f"node {node.id} occurs twice; return each node once")
        nodes[node.id] = node
    return nodes


def _paths(root: int, children: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """Return the paths, parents before children. The nodes of a cycle are missing."""
    paths = {root: [root]}
    waiting = [root]
    while waiting:
        parent = waiting.pop()
        for child in children[parent]:
            paths[child] = [*paths[parent], child]
            waiting.append(child)
    return paths
