"""Different ids below nodes, kept as sets whose update costs what changed, not their size.

The whole roll-up merges sets by union. Near the root they hold an id for each person of the organisation, so that
a union for one check-in would copy them all.
"""

from collections.abc import Collection, Iterable, Mapping, Set as AbstractSet
from typing import Any, TypeAlias

from reports.node_ids import NodeId

Ids: TypeAlias = AbstractSet[Any]
_NONE: frozenset[Any] = frozenset()


def change_sets(
    merged: dict[NodeId, Ids],
    *,
    former: Mapping[NodeId, Ids],
    own: Mapping[NodeId, Ids],
    upwards: Iterable[NodeId],
    children: Mapping[NodeId, Collection[NodeId]],
) -> None:
    """Bring the sets of these nodes up to date, children before their parents.

    An id enters the set of a node if it is new in a part of it, and leaves it if no part of it has it any longer.
    The parts of a node are its own ids and the sets of its children.

    Args:
        merged: ids of each subtree, changed in place.
        former: own ids of the nodes whose own ids may have changed, as they were.
        own: own ids of all nodes now; a node without any may be missing.
        upwards: these nodes with all their ancestors.
    """
    gained: dict[NodeId, set[Any]] = {}
    lost: dict[NodeId, set[Any]] = {}
    for node in upwards:
        ids, mine = merged[node], own.get(node, _NONE)
        came = set(mine - former[node]) if node in former else set()
        left = set(former[node] - mine) if node in former else set()
        for child in children[node]:
            came |= gained.get(child, _NONE)
            left |= lost.get(child, _NONE)
        gained[node] = {one for one in came if one not in ids}
        lost[node] = {one for one in left if one not in mine and not _has(merged, children[node], one)}
        if gained[node] or lost[node]:
            merged[node] = _changeable(ids)
            merged[node] |= gained[node]
            merged[node] -= lost[node]


def _has(merged: Mapping[NodeId, Ids], nodes: Iterable[NodeId], one: object) -> bool:
    return any(one in merged[node] for node in nodes)


def _changeable(ids: Ids) -> set[Any]:
    """Return the set itself if it may be changed, else a copy: a subtree of one node shares the node's own set."""
    return ids if isinstance(ids, set) else set(ids)
