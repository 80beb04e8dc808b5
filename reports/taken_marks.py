"""Marks that a refresh has taken up: which nodes of which sources they name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_NODES = 2_000
"""Largest number of nodes read from a board's marks; with more, every node counts as changed."""


@dataclass(frozen=True, slots=True)
class TakenMarks:
    """Changes since the board's marks were last taken up.

    Attributes:
        count: number of marks.
        nodes: texts of the ids that marks name, by declared source; none for rows that have no node.
        everything: True if a mark names no nodes, so that each may have changed.
        former: low 32 bits of the transaction that took up the board's marks before; None: none is known.
    """

    count: int = 0
    nodes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    everything: bool = False
    former: int | None = None

    def follow(self, xid: int | None) -> bool:
        """Return True if no other refresh has taken up marks of the board since this transaction did."""
        return xid is not None and self.former == xid & 0xFFFFFFFF


def read_marks(rows: Sequence[Mapping[str, Any]], former: int | None) -> TakenMarks:
    """Return the marks in a query's rows: source, node (bytes or null), and the number of all marks.

    A ``named`` row without a node is about rows that have none; any other, about marks that name no nodes.

    >>> read_marks([{"source": "shop.orders", "node": b"7", "named": True, "marks": 3}], 12).nodes
    {'shop.orders': frozenset({'7'})}
    """
    if not rows:
        return TakenMarks(former=former)
    named: dict[str, set[str]] = {}
    for row in rows:
        if row["named"]:
            named.setdefault(row["source"], set()).update(_texts(row["node"]))
    everything = len(rows) > MOST_NODES or not all(row["named"] for row in rows)
    nodes = {source: frozenset(ids) for source, ids in named.items()}
    return TakenMarks(int(rows[0]["marks"]), nodes, everything, former)


def _texts(node: bytes | None) -> list[str]:
    """Return the text of a node; one that is not UTF-8 becomes a text that cannot be an id."""
    return [] if node is None else [node.decode(errors="replace")]
