"""One lane of one worker: its slots, what runs in them, and what has ended but is not recorded yet."""

import math
from dataclasses import dataclass, field
from datetime import timedelta

from producers.keys import LaneKeys


@dataclass(frozen=True, slots=True)
class LaneSlots:
    """How many jobs of a lane one worker runs at a time."""

    lane: str
    slots: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased job.

    Attributes:
        attempt: this one's number, from 1.
        due_ms: when it could have run first, by Redis's clock.
        claimed_ms: when it was leased, by Redis's clock.
        effect: the attempt whose effect began and was never heard of again, or 0.
    """

    lane: str
    id: str
    payload: bytes
    attempt: int
    due_ms: int
    claimed_ms: int
    effect: int
    token: str


@dataclass(frozen=True, slots=True)
class Completion:
    """How a claimed job ended, on its way to Redis."""

    claim: Claim
    outcome: str
    delay: timedelta
    result: bytes
    result_life: timedelta
    reason: str


@dataclass(slots=True)
class Lane:
    """The state of one lane. Owned by the event loop; nobody else writes it."""

    keys: LaneKeys
    slots: int
    running: dict[str, Claim] = field(default_factory=dict)
    ended: list[Completion] = field(default_factory=list)
    claimable: bool = True
    """Whether a claim may find something: set by a wake-up, a due time and the safety poll."""
    next_due: timedelta | None = None
    """How long after the last claim the next job is due or a lease lapses; None: nothing is waiting."""
    due_at: float = math.inf
    """The same as an instant of the event loop's clock."""

    @property
    def name(self) -> str:
        """The lane's name."""
        return self.keys.lane

    @property
    def free(self) -> int:
        """Slots in which nothing runs and nothing waits to be recorded."""
        return self.slots - len(self.running)

    def forget(self, settled: list[Completion]) -> None:
        """Drop the completions that Redis has recorded or refused."""
        done = {id(completion) for completion in settled}
        self.ended = [completion for completion in self.ended if id(completion) not in done]
