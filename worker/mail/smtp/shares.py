"""The shares of the lanes in a pool: which of those that wait gets the next free connection.

The one that has the least of its share does: connections in use by weight, and the weights are the lanes' slots.
So a flood in two lanes never takes a third one's connections, and a mail of a lane that has none in use waits for
the end of one mail at most. Where that decides nothing, as with a single connection, an urgent mail comes first,
but each fifth connection is another lane's that waits; the others take turns by their weights.
"""

from collections.abc import Sequence
from typing import Final

URGENT: Final = 0
NORMAL: Final = 1
BULK: Final = 2
PRIORITIES: Final = (URGENT, NORMAL, BULK)
_IN_A_ROW: Final = 4
"""Urgent mails before another lane's that waits; limits count alike (producers/scripts/turns.lua)."""


class Shares:
    """What each lane has in use.

    Args:
        weights: of the urgent, the normal and the bulk lane; a lane without slots counts as one.

    Attributes:
        in_use: connections by lane.
    """

    def __init__(self, weights: Sequence[int] = (1, 1, 1)) -> None:
        self._steps = [1 / max(1, weight) for weight in weights]
        self.in_use = [0] * len(weights)
        self._turns = [0.0] * len(weights)
        self._now = 0.0
        self._row = 0

    @property
    def total(self) -> int:
        """Connections in use."""
        return sum(self.in_use)

    def begin_to_wait(self, lane: int) -> None:
        """The first of a lane waits: what the lane did not use before is not made up for."""
        self._turns[lane] = max(self._turns[lane], self._now)

    def choose(self, waiting: Sequence[int]) -> int:
        """The lane whose turn it is, of several that wait."""
        return min(waiting, key=self._order)

    def serve(self, lane: int, waiting: Sequence[int]) -> None:
        """A lane got a connection while these waited."""
        self.in_use[lane] += 1
        if len(waiting) > 1:
            self._now = self._turns[lane]
            self._turns[lane] += self._steps[lane]
            self._row = self._row + 1 if lane == URGENT else 0

    def _order(self, lane: int) -> tuple[float, bool, float, int]:
        is_others_turn = (lane == URGENT) == (self._row >= _IN_A_ROW)
        return self.in_use[lane] * self._steps[lane], is_others_turn, self._turns[lane], lane
