"""One lane of one worker: its slots, what runs in them, and what has ended but is not recorded yet."""

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta

from producers.keys import LaneKeys


@dataclass(frozen=True, slots=True)
class LaneSlots:
    """How many jobs of a lane one worker runs at a time.

    Attributes:
        slots: at most so many, under a ceiling too.
        weight: under a ceiling, its share beside the other lanes'.
    """

    lane: str
    slots: int
    weight: int = 1


@dataclass(slots=True, eq=False)  # not frozen: that triples the cost of making one
class Claim:
    """A leased job: one attempt.

    Compared by identity: a worker that was paused beyond a lease may hold two claims of one job, and jobs that
    were claimed together share their token.

    Attributes:
        attempt: this one's number, from 1.
        due_ms: when it could have run first, by Redis's clock.
        claimed_ms: when it was leased, by Redis's clock.
        effect: the attempt whose effect began and was never heard of again, or 0.
        limit: the key of the limit that it was taken from; "" for none.
    """

    lane: str
    id: str
    payload: bytes = field(repr=False)
    attempt: int
    due_ms: int
    claimed_ms: int
    effect: int
    token: str
    limit: str = ""
    taken_at: float = field(default_factory=time.monotonic)
    """When this process got it, by its own monotonic clock."""


@dataclass(slots=True)
class Completion:
    """How a claimed job ended, on its way to Redis."""

    claim: Claim
    outcome: str
    delay: timedelta
    result: bytes = field(repr=False)
    result_life: timedelta
    reason: str = field(repr=False)
    sent_before: bool = False
    """Whether it was sent and no reply came: it may have been recorded then."""


@dataclass(slots=True)
class Lane:
    """The state of one lane. Owned by the event loop; nobody else writes it.

    Attributes:
        claimable: whether one claim may find something: set by a wake-up, a due time and the safety poll.
        has_more: whether the last claim left something due behind: as long as it does, claim without being told.
        next_due: how long after the last claim the next job is due or a lease lapses; None: nothing waits.
        due_at: the same as an instant of the event loop's clock.
    """

    keys: LaneKeys
    slots: int
    weight: int = 1
    running: set[Claim] = field(default_factory=set)
    ended: list[Completion] = field(default_factory=list)
    claimable: bool = True
    has_more: bool = False
    next_due: timedelta | None = None
    due_at: float = math.inf
    rest_until: float = -math.inf
    """Until then it is left alone: one of its keys holds what it must not."""
    broken: bool = False
    """Whether its last turn failed for that."""
    reserved: int = 0
    """Slots for which a claim is under way."""

    @property
    def name(self) -> str:
        """The lane's name."""
        return self.keys.lane

    @property
    def free(self) -> int:
        """Slots in which nothing runs and for which nothing is asked."""
        return self.slots - len(self.running) - self.reserved

    @property
    def wants(self) -> bool:
        """Whether a claim now could fill a slot."""
        return (self.claimable or self.has_more) and self.free > 0

    def take_ended(self) -> list[Completion]:
        """What ended since the last time, on its way to Redis."""
        ended, self.ended = self.ended, []
        return ended

    @property
    def to_be_looked_at(self) -> bool:
        """Whether it was woken and has a slot; whether there is one under the ceiling is another matter."""
        return self.claimable and self.free > 0

    @property
    def taken(self) -> int:
        """Slots in which something runs or for which something is asked."""
        return len(self.running) + self.reserved

    def reserve(self, count: int) -> int:
        """Set slots aside for one claim; none for a look at what waits."""
        self.reserved += count
        self.claimable = False
        return count

    def release(self, count: int, now: float) -> None:
        """The claim has been answered, and ``next_due`` is what it said."""
        self.reserved -= count
        self.has_more = self.next_due is not None and self.next_due <= timedelta(0)
        self.due_at = math.inf if self.next_due is None else now + self.next_due.total_seconds()

    def ask_again(self, count: int) -> None:
        """The claim got no answer."""
        self.reserved -= count
        self.claimable = True
