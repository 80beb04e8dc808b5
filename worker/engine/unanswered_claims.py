"""Claims that were sent and never answered: Redis may have leased us jobs that nobody runs.

Left alone, such a lease would lapse: ten seconds lost, and a lapse charged to a job that has done nothing. A
few resets of a connection would so make a job dead as if it killed its workers. Every claim therefore has a
number, which is in its leases' tokens, and those whose reply was lost are taken back by number.

A claim may be carried out long after we gave it up, when a frozen server goes on or a network delivers what it
held. So the leases are taken back again every second, until one lease's time after Redis has answered.
"""

import math
from dataclasses import dataclass, field

from worker.engine.lane import Lane

_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class UnansweredClaims:
    """The numbers of the claims without a reply, as ranges, since in an outage all of them are.

    Args:
        seconds: how long after Redis's first answer a late claim is looked for.
    """

    seconds: float
    ranges: list[list[int]] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)
    until: float = math.inf
    next_look: float = -math.inf

    def add(self, number: int, lanes: list[Lane]) -> None:
        """This claim got no reply."""
        for known in self.ranges:
            if known[0] - 1 <= number <= known[1] + 1:
                known[:] = [min(known[0], number), max(known[1], number)]
                break
        else:
            self.ranges.append([number, number])
        self.lanes |= {lane.name: lane for lane in lanes}
        self.until, self.next_look = math.inf, -math.inf

    def due(self, now: float) -> list[Lane]:
        """In which lanes to look for them now."""
        if not self.ranges or now < self.next_look:
            return []
        if now > self.until:
            self.ranges.clear()
            self.lanes.clear()
        self.next_look = now + _AGAIN_SECONDS
        return list(self.lanes.values())

    def answered(self, now: float) -> None:
        """Redis answers again."""
        self.until = min(self.until, now + self.seconds)
