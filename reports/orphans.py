"""Orphans of a tree: living nodes whose parent is deleted or missing, and what the tree's rules do with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.node_ids import NodeId
from reports.tree_rules import HANG, LEAVE_OUT, TreeRules

if TYPE_CHECKING:
    from reports.tree import Node

_UNKNOWN = "which the query does not return"
_DELETED = "which is deleted"


@dataclass(frozen=True, slots=True)
class Hanging:
    """Nodes of a tree with their parents, once the rules are applied.

    Attributes:
        parents: parent of each living node; None: a root.
        left_out: deleted nodes, and those that the rules leave out.
        faults: orphans that the rules refuse.
    """

    parents: Mapping[NodeId, NodeId | None]
    left_out: frozenset[NodeId]
    faults: list[str]


def hang(nodes: Mapping[NodeId, "Node"], rules: TreeRules) -> Hanging:
    """Return the parent of each node that is not deleted, according to the rules."""
    parents: dict[NodeId, NodeId | None] = {}
    orphans: list[NodeId] = []
    faults: list[str] = []
    for node in nodes.values():
        if node.deleted:
            continue
        parent = node.parent_id
        if not node.missing and (parent is None or ((above := nodes.get(parent)) and not above.deleted)):
            parents[node.id] = parent
            continue
        parent, fault = _above(node, nodes)
        parents[node.id] = parent
        if not fault:
            continue
        if rules.orphans == LEAVE_OUT:
            orphans.append(node.id)
        elif rules.orphans != HANG:
            faults.append(fault)
        elif parent is not None and parent not in nodes:
            faults.append(f"{fault}; return deleted nodes too, with a boolean column deleted")
    deleted = {node.id for node in nodes.values() if node.deleted}
    left_out = frozenset(deleted | _without(parents, orphans))
    return Hanging(parents, left_out, faults)


def _above(node: "Node", nodes: Mapping[NodeId, "Node"]) -> tuple[NodeId | None, str]:
    """Return the nearest ancestor that is not deleted, and the fault if that is not the parent.

    The ancestor is not among the nodes if the query does not return the parent, or that of a deleted ancestor.
    """
    parent = node.parent_id
    fault = f"node {node.id} has the parent {node.missing}, {_UNKNOWN}" if node.missing else ""
    passed: set[NodeId] = set()
    while parent is not None:
        above = nodes.get(parent)
        if above is None:
            return parent, fault or f"node {node.id} has the parent {parent}, {_UNKNOWN}"
        if not above.deleted:
            break
        fault = fault or f"node {node.id} has the parent {parent}, {_DELETED}"
        if parent in passed:  # a cycle of deleted nodes: none of them is the parent of a living one
            return None, fault
        passed.add(parent)
        parent = above.parent_id
    return parent, fault


def _without(parents: dict[NodeId, NodeId | None], orphans: list[NodeId]) -> set[NodeId]:
    """Remove orphans and all nodes below them, and return these."""
    if not orphans:
        return set()
    children: dict[NodeId | None, list[NodeId]] = {}
    for node_id, parent in parents.items():
        children.setdefault(parent, []).append(node_id)
    removed: set[NodeId] = set()
    waiting = list(orphans)
    while waiting:
        node_id = waiting.pop()
        if node_id not in removed:
            removed.add(node_id)
            waiting += children.get(node_id, [])
    for node_id in removed:
        del parents[node_id]
    return removed
