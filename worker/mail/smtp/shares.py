"""Shares of the lanes in a pool, which decide the waiting lane that gets the next free connection.

The lane that uses the smallest part of its share gets it: connections in use divided by weight, where the weights
are the lanes' slots. So a flood in two lanes never takes the third lane's connections, and a mail of a lane
without a connection waits for the end of at most one mail. In a tie, as with a single connection, urgent mails
come first, but every fifth connection goes to another waiting lane; those take turns by their weights.
"""

from collections.abc import Sequence
from typing import Final

URGENT: Final = 0
NORMAL: Final = 1
BULK: Final = 2
PRIORITIES: Final = (URGENT, NORMAL, BULK)
_IN_A_ROW: Final = 4
"""Urgent mails in a row while another lane waits; limits use the same number (producers/scripts/turns.lua)."""


class Shares:
    """Connections that each lane uses, and the turns of the lanes.

    Args:
        weights: of the urgent, the normal and the bulk lane; a lane without slots counts as one slot.

    Attributes:
        in_use: connections in use by lane.
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

    def record_first_waiting(self, lane: int) -> None:
        """Record that a lane's first mail waits; turns that the lane did not use before are not credited."""
        self._turns[lane] = max(self._turns[lane], self._now)

    def choose_lane(self, waiting: Sequence[int]) -> int:
        """Choose the lane whose turn it is among the waiting lanes."""
        return min(waiting, key=self._order)

    def record_service(self, lane: int, waiting: Sequence[int]) -> None:
        """Record that a lane got a connection while these lanes waited."""
        self.in_use[lane] += 1
        if len(waiting) > 1:
            self._now = self._turns[lane]
            self._turns[lane] += self._steps[lane]
            self._row = self._row + 1 if lane == URGENT else 0

    def _order(self, lane: int) -> tuple[float, bool, float, int]:
        is_others_turn = (lane == URGENT) == (self._row >= _IN_A_ROW)
        return self.in_use[lane] * self._steps[lane], is_others_turn, self._turns[lane], lane
