"""The slots that a worker's lanes share under a ceiling: a free slot goes to the lane furthest below its share.

So a flood in one lane delays another lane's job by at most one job: when the next job ends, a lane without
running jobs comes first. :func:`share_slots` decides; a :class:`SharedSlots` has the lanes of one worker, for all
its pumps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.engine.lane import Lane


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """The need of one lane for slots.

    Attributes:
        running: number of jobs that run in it or are being claimed.
        most: number of further jobs that it could take now.
        weight: its share relative to the other lanes, at least 1.
    """

    running: int
    most: int
    weight: int = 1


def share_slots(room: int, asking: Sequence[SlotRequest]) -> list[int]:
    """Return the number of free slots for each lane. Each slot goes to the lane with the least running / weight.

    Args:
        room: free slots under the ceiling; below 1, all lanes get 0.
        asking: the lanes; of equal lanes the first comes first.

    >>> requests = [SlotRequest(running=4, most=9), SlotRequest(running=2, most=9), SlotRequest(running=0, most=1)]
    >>> share_slots(3, requests)
    [0, 2, 1]
    """
    given = [0] * len(asking)
    for _ in range(room):
        able = [place for place, one in enumerate(asking) if given[place] < one.most]
        if not able:
            break
        given[min(able, key=lambda place: (asking[place].running + given[place]) / asking[place].weight)] += 1
    return given


class SharedSlots:
    """The ceiling on the running jobs of all lanes of a worker.

    Args:
        lanes: all lanes of the worker.
        most: the largest number of running jobs; None for no ceiling beyond the lanes' own slots.

    Raises:
        ValueError: ``most`` is below 1.
    """

    def __init__(self, lanes: Sequence[Lane], most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"max_running: must be at least 1, not {most}; leave it out for no ceiling")
        self._lanes = lanes
        self._most = most
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Register a function to call whenever a slot may have become free for another lane."""
        self._listeners.append(listener)

    def notify_listeners(self) -> None:
        """Call the listeners after the end of a job, or after a claim that left slots free."""
        for listener in self._listeners if self._most is not None else ():
            listener()

    @property
    def is_limited(self) -> bool:
        """True if there is a ceiling beyond the lanes' own slots."""
        return self._most is not None

    @property
    def room(self) -> float:
        """Number of free slots under the ceiling; infinity without a ceiling."""
        return math.inf if self._most is None else self._most - sum(lane.taken for lane in self._lanes)

    def shares(self, lanes: Sequence[Lane], now: float) -> list[int]:
        """Return the number of jobs that each of these lanes may claim now, beside the worker's other lanes.

        One claim takes at most half of the slots, so that the other half works meanwhile.

        Args:
            now: by the event loop's clock; a resting lane gets 0.
        """
        if self._most is None:
            return [min(lane.free, (lane.slots + 1) // 2) if lane.can_claim else 0 for lane in lanes]
        able = [lane.free if lane.can_claim and lane.rest_until <= now else 0 for lane in self._lanes]
        asking = [SlotRequest(lane.taken, most, lane.weight) for lane, most in zip(self._lanes, able, strict=True)]
        given = share_slots(min(int(self.room), (self._most + 1) // 2), asking)
        by_name = dict(zip((lane.name for lane in self._lanes), given, strict=True))
        return [by_name[lane.name] for lane in lanes]
