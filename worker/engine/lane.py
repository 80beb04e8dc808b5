"""The state of a lane in one worker: its slots, running jobs and completions that are not recorded yet."""

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from producers.keys import LaneKeys

if TYPE_CHECKING:
    from worker.span_recorder import AttemptTrace

_WELL_FILLED = 4
"""A lane is well filled if less than a quarter of its slots is free."""


@dataclass(frozen=True, slots=True)
class LaneSlots:
    """The number of jobs of a lane that one worker runs at a time.

    Attributes:
        slots: the largest number, under a ceiling too.
        weight: under a ceiling, the lane's share relative to the other lanes.
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
        attempt: number of this attempt, from 1.
        due_ms: time at which it could first run, by Redis's clock.
        claimed_ms: time of the lease, by Redis's clock.
        effect: the earlier attempt whose effect began with an unknown outcome, or 0.
        limit: the key of the limit that it counts against; "" for none.
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
    """Time at which this process received it, by its own monotonic clock."""


@dataclass(slots=True)
class Completion:
    """The outcome of a claimed job, to be recorded in Redis."""

    claim: Claim
    outcome: str
    delay: timedelta
    result: bytes = field(repr=False)
    result_life: timedelta
    reason: str = field(repr=False)
    sent_before: bool = False
    """True if it was sent and no reply came: Redis may have recorded it."""
    trace: "AttemptTrace | None" = field(default=None, repr=False)
    """The spans of its attempt and of its sender, if this worker traces."""


def returned_unrun(claim: Claim) -> Completion:
    """Return the completion of a claim that was never started: its job goes back to the queue, uncharged."""
    return Completion(claim, "defer", timedelta(0), b"", timedelta(0), "")


@dataclass(slots=True)
class Lane:
    """The state of one lane. Only the event loop writes it.

    Attributes:
        claimable: True if a claim may find a job: set by a wake-up, a due time and the safety poll.
        has_more: True if the last claim left due jobs behind; then claim again without a wake-up.
        next_due: time from the last claim until the next job is due or a lease lapses; None: nothing waits.
        due_at: the same as a time of the event loop's clock.
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
    """The end of its rest, after one of its keys was found to hold a wrong type of data."""
    broken: bool = False
    """True if its last cycle failed because of a key with a wrong type of data."""
    reserved: int = 0
    """Slots for which a claim is under way."""
    stands: bool = False
    """True while one of the reserved slots is that of the claim behind the blocking read."""
    left_behind: int = 0
    """Number of handlers that still run though their attempts were given up; they take no slots."""

    @property
    def name(self) -> str:
        """The lane's name."""
        return self.keys.lane

    @property
    def free(self) -> int:
        """Number of slots without a running job or a claim under way."""
        return self.slots - len(self.running) - self.reserved

    @property
    def can_claim(self) -> bool:
        """True if a claim now could fill a slot."""
        return (self.claimable or self.has_more) and self.free > 0

    @property
    def is_open(self) -> bool:
        """True if it has a slot for another job, though a claim behind the blocking read may hold it."""
        return self.free > 0 or self.stands

    @property
    def can_stand(self) -> bool:
        """True if a claim may stand behind the blocking read: another slot is left for claims that do not wait."""
        return self.free > 1 and not self.has_more and not self.broken

    @property
    def awaits_standing(self) -> bool:
        """True if the lane is due for a check, and the standing claim holds its last free slot."""
        return self.stands and self.free < 1 and (self.claimable or self.has_more)

    def take_ended(self) -> list[Completion]:
        """Remove and return the completions since the last call."""
        ended, self.ended = self.ended, []
        return ended

    @property
    def needs_look(self) -> bool:
        """True if it was woken and has a free slot, regardless of the ceiling."""
        return self.claimable and self.free > 0

    @property
    def can_gather(self) -> bool:
        """True if its next claim and outcomes can wait for others: none is due, or nearly all slots are busy."""
        if self.needs_look:
            return False
        return self.free * _WELL_FILLED < self.slots or not (self.ended or self.has_more)

    @property
    def taken(self) -> int:
        """Number of slots with a running job or a claim under way."""
        return len(self.running) + self.reserved

    def reserve_slots(self, count: int) -> int:
        """Reserve slots for one claim and return their number; 0 for a claim that only looks at the queue."""
        self.reserved += count
        self.claimable = False
        return count

    def release_slots(self, count: int, now: float) -> None:
        """Release the reserved slots after the claim's reply, which has set ``next_due``."""
        self.reserved -= count
        self.has_more = self.next_due is not None and self.next_due <= timedelta(0)
        self.due_at = math.inf if self.next_due is None else now + self.next_due.total_seconds()

    def claim_failed(self, count: int) -> None:
        """Release the reserved slots after a claim without a reply, so that the lane claims again."""
        self.reserved -= count
        self.claimable = True

    def reserve_standing(self) -> None:
        """Reserve a slot for the claim behind the blocking read; others may look at the lane meanwhile."""
        self.reserved += 1
        self.stands = True

    def release_standing(self, *, answered: bool, now: float) -> None:
        """Release the slot of the claim behind the blocking read; without an answer, the lane claims again."""
        self.stands = False
        if answered:
            self.release_slots(1, now)
        else:
            self.claim_failed(1)
