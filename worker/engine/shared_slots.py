"""How the lanes of a worker share a ceiling: the next free slot goes to the lane that has the least of its share.

So a flood in one lane keeps another lane's job waiting for one job at most: when the next one ends, the lane in
which nothing runs comes first. :func:`share` decides; a :class:`SharedSlots` knows the lanes of one worker, also
where several pumps move them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.engine.lane import Lane


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A lane that could take jobs.

    Attributes:
        running: what runs in it or is asked for already.
        most: how many more it could take now.
        weight: its share beside the others', at least 1.
    """

    running: int
    most: int
    weight: int = 1


def share(room: int, asking: Sequence[SlotRequest]) -> list[int]:
    """How many of the free slots each lane gets, one by one to the one with the least running / weight.

    Args:
        room: free slots under the ceiling; below 1, nobody gets any.
        asking: in the order in which equals come.

    >>> share(3, [SlotRequest(running=4, most=9), SlotRequest(running=2, most=9), SlotRequest(running=0, most=1)])
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
    """How many jobs of all lanes together may run at a time.

    Args:
        lanes: all of the worker's.
        most: None for as many as they have slots.

    Raises:
        ValueError: below 1.
    """

    def __init__(self, lanes: Sequence[Lane], most: int | None = None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"max_running: must be at least 1, not {most}; leave it out for no ceiling")
        self._lanes = lanes
        self._most = most
        self._hearers: list[Callable[[], None]] = []

    def tell(self, hearer: Callable[[], None]) -> None:
        """Call this whenever a slot may have become free for somebody else."""
        self._hearers.append(hearer)

    def changed(self) -> None:
        """A job has ended, or a claim brought less than was asked for."""
        for hear in self._hearers if self._most is not None else ():
            hear()

    @property
    def room(self) -> float:
        """Slots that nobody has; without a ceiling infinitely many."""
        return math.inf if self._most is None else self._most - sum(lane.taken for lane in self._lanes)

    def shares(self, lanes: Sequence[Lane], now: float) -> list[int]:
        """How many jobs each of these lanes may ask for now. What the others get is theirs to ask for.

        One claim asks for half of the slots at most, so that the other half works meanwhile.

        Args:
            now: by the event loop's clock; a lane that rests gets nothing.
        """
        if self._most is None:
            return [min(lane.free, (lane.slots + 1) // 2) if lane.wants else 0 for lane in lanes]
        able = [lane.free if lane.wants and lane.rest_until <= now else 0 for lane in self._lanes]
        asking = [SlotRequest(lane.taken, most, lane.weight) for lane, most in zip(self._lanes, able, strict=True)]
        given = share(min(int(self.room), (self._most + 1) // 2), asking)
        by_name = dict(zip((lane.name for lane in self._lanes), given, strict=True))
        return [by_name[lane.name] for lane in lanes]
