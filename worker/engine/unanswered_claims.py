"""Claims without a reply: Redis may have leased jobs to this worker that it does not run.

Without countermeasures such a lease would lapse: ten seconds lost, and a lapse charged to a job that never ran. A
few connection resets would make a job dead as if it had crashed its workers. Every claim therefore has a number,
which is part of its lease tokens, and the worker returns the leases of unanswered claims by number.

Redis may execute a claim long after the worker's timeout, when a frozen server resumes or a network delivers late.
So the leases are returned again every second, until one lease duration after Redis has responded.
"""

import math
from dataclasses import dataclass, field

from worker.engine.lane import Lane

_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class UnansweredClaims:
    """The numbers of the claims without a reply, as ranges, since an outage affects consecutive claims.

    Args:
        seconds: time after Redis's first reply during which late claims are searched.
    """

    seconds: float
    ranges: list[list[int]] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)
    until: float = math.inf
    next_look: float = -math.inf

    def add(self, number: int, lanes: list[Lane]) -> None:
        """Add a claim without a reply."""
        for known in self.ranges:
            if known[0] - 1 <= number <= known[1] + 1:
                known[:] = [min(known[0], number), max(known[1], number)]
                break
        else:
            self.ranges.append([number, number])
        self.lanes |= {lane.name: lane for lane in lanes}
        self.until, self.next_look = math.inf, -math.inf

    def lanes_due(self, now: float) -> list[Lane]:
        """Return the lanes in which to search for their leases now."""
        if not self.ranges or now < self.next_look:
            return []
        if now > self.until:
            self.ranges.clear()
            self.lanes.clear()
        self.next_look = now + _AGAIN_SECONDS
        return list(self.lanes.values())

    def note_reply(self, now: float) -> None:
        """Note a reply of Redis, which limits the search for late claims."""
        self.until = min(self.until, now + self.seconds)
