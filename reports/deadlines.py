"""Instants at which time itself changes the rows of nodes, for a report whose query returns them in a column."""

import heapq
from datetime import datetime
from typing import Any

from reports.measures import INFINITE, InvalidRows
from reports.node_ids import NodeId

_MOST_STALE = 1_000
"""Largest number of former instants that are kept besides one for each node."""


def is_never(instant: object) -> bool:
    """Return True if a validity has no end: null, or infinity."""
    return instant is None or instant == INFINITE


class Deadlines:
    """Next instant of each node that has one. The earliest is known at once, however many nodes there are.

    Args:
        column: column of the query, for errors.

    >>> from datetime import UTC
    >>> deadlines, noon = Deadlines("changes_at"), datetime(2026, 11, 29, 12, tzinfo=UTC)
    >>> deadlines.note_instant(7, noon)
    >>> deadlines.reached(noon), deadlines.earliest == noon
    ([7], True)
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._of: dict[NodeId, datetime] = {}
        self._queue: list[tuple[datetime, NodeId]] = []
        """Heap of the noted instants, and of former ones, which are dropped when they come first."""

    def note_instant(self, node: NodeId, instant: Any) -> None:  # noqa: ANN401  the query's
        """Note the next instant of a node in place of its previous one.

        Raises:
            InvalidRows: it is neither null nor an instant with its zone.
        """
        former = self._of.pop(node, None)
        if is_never(instant):
            return
        if not isinstance(instant, datetime) or instant.tzinfo is None:
            raise InvalidRows(f"valid_until: the column {self._column} must be a timestamptz of the query")
        self._of[node] = instant
        if instant != former:
            heapq.heappush(self._queue, (instant, node))
        if len(self._queue) > _MOST_STALE + 2 * len(self._of):
            self._queue = sorted((one, of_node) for of_node, one in self._of.items())

    @property
    def earliest(self) -> datetime | None:
        """Earliest instant of any node; None if time changes nothing."""
        queue = self._queue
        while queue and self._of.get(queue[0][1]) != queue[0][0]:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def is_reached(self, now: datetime) -> bool:
        """Return True if any node's instant is at or before this one."""
        return (first := self.earliest) is not None and first <= now

    def reached(self, now: datetime) -> list[NodeId]:
        """Return the nodes whose instant is not later than this one; each keeps it until another is noted."""
        if not self.is_reached(now):
            return []
        return [node for node, instant in self._of.items() if instant <= now]
