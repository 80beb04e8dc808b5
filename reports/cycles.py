"""Cycles among the nodes of a tree: nodes that are their own ancestors."""

from collections.abc import Mapping

from reports.node_ids import NodeId


def find_cycles(parents: Mapping[NodeId, NodeId | None]) -> list[list[NodeId]]:
    """Return each cycle with its members, from child to parent, the smallest id first.

    >>> find_cycles({1: None, 2: 3, 3: 2, 4: 3, 5: 5})
    [[2, 3], [5]]
    """
    found = []
    done: set[NodeId] = set()
    for start in parents:
        walk: dict[NodeId, int] = {}
        node: NodeId | None = start
        while node is not None and node in parents and node not in done and node not in walk:
            walk[node] = len(walk)
            node = parents[node]
        if node is not None and node in walk:
            found.append(_from_smallest(list(walk)[walk[node] :]))
        done |= walk.keys()
    return sorted(found, key=lambda cycle: str(cycle[0]))


def _from_smallest(cycle: list[NodeId]) -> list[NodeId]:
    first = cycle.index(min(cycle, key=lambda node: (isinstance(node, str), node)))
    return cycle[first:] + cycle[:first]


def told(cycle: list[NodeId]) -> str:
    """Return a cycle in words; for a long one, its first members.

    >>> told([2, 3])
    'the nodes 2 -> 3 -> 2 form a cycle'
    """
    shown = cycle if len(cycle) <= _MOST else [*cycle[:_MOST], f"... ({len(cycle)} nodes)"]
    return f"the nodes {' -> '.join(map(str, [*shown, cycle[0]]))} form a cycle"


_MOST = 20
