"""Facts of a lane's forecast, from what the depth's query has read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from ops.depth.counts import Counts
from ops.depth.drain import MINUTE_MS
from ops.depth.flow import FlowNote, read_notes
from ops.depth.lane_limits import LaneLimits
from ops.lanes.hold import Hold
from ops.limits.budget import LimitBudget
from producers.limits.limits import LimitState

DUE_WITHIN_S: Final = (2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 300, 600, 1800, 3600, 14_400, 86_400, 604_800)
"""Times, in seconds, for which the jobs that come due within them are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFacts:
    """A limit as a forecast needs it.

    Attributes:
        blocked: jobs that name it and wait for it.
        running: jobs that hold a place, if it has places.
        places: jobs that may run at once under it; None: any number.
        is_used_up: True if no job may begin under it now.
    """

    key: str
    budget: LimitBudget
    blocked: int = 0
    running: int = 0
    places: int | None = None
    is_used_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainFacts:
    """Everything that a forecast of one lane is computed from.

    Attributes:
        ready, leased, delayed: jobs that are due, that run, and that are due later.
        retrying, parked, held_back: waiting jobs that failed before, that no worker may take, and that a limit of
            their own holds back. Parked and held back jobs are among the delayed ones.
        due_within: pairs of a time in seconds, ascending, and the number of delayed jobs that come due within it.
        last_due_s: until the last of the delayed jobs is due.
        slots: of live workers that serve the lane.
        is_held: True if an operator holds the lane.
        held_s: until that hold ends; None: until it is released.
        notes: of its flow, the oldest first, the current instant last.
        in_per_minute, out_per_minute: counts of the last minute, for a lane whose workers note no flow.
        needed: the limits of which each job needs one.
        named: the limits that hold back jobs that name them.
        ahead: jobs of more urgent lanes that need the same limits.
    """

    ready: int
    leased: int = 0
    delayed: int = 0
    retrying: int = 0
    parked: int = 0
    held_back: int = 0
    due_within: Sequence[tuple[float, int]] = ()
    last_due_s: float = 0.0
    slots: int = 0
    is_held: bool = False
    held_s: float | None = None
    notes: Sequence[FlowNote] = ()
    in_per_minute: float = 0.0
    out_per_minute: float = 0.0
    needed: Sequence[LimitFacts] = field(default=())
    named: Sequence[LimitFacts] = field(default=())
    ahead: int = 0

    @property
    def waiting(self) -> int:
        """Jobs that could run if a slot were free."""
        return self.ready + self.held_back

    @property
    def later(self) -> int:
        """Delayed jobs that become due by themselves."""
        return max(0, self.delayed - self.parked - self.held_back)

    @property
    def to_retry(self) -> int:
        """Delayed jobs that failed before."""
        return min(self.retrying, self.later)

    def due_in(self, seconds: float) -> float:
        """Return how many of the later jobs come due within a time, excluding those that failed before."""
        count = float(self.due_within[-1][1]) if self.due_within else 0.0
        for (start, before), (end, within) in pairwise([(0.0, 0), *self.due_within]):
            if seconds < end:
                count = before + (within - before) * max(0.0, seconds - start) / (end - start)
                break
        return max(0.0, min(count, self.later) - self.to_retry)

    @property
    def retry_s(self) -> float:
        """Time until the last failed job is due, taking failed jobs to be the first of the later ones."""
        if not self.to_retry:
            return 0.0
        if self.to_retry == self.delayed:
            return self.last_due_s
        for (start, before), (end, within) in pairwise([(0.0, 0), *self.due_within]):
            if within >= self.to_retry:
                return start + (end - start) * (self.to_retry - before) / max(1, within - before)
        return self.last_due_s


def drain_facts(
    counts: Counts,
    limits: LaneLimits,
    *,
    at: datetime,
    slots: int,
    held: Hold | None,
    ahead: int,
) -> DrainFacts:
    """Return the facts of a lane's forecast.

    Args:
        at: the instant of the counts, by Redis's clock.
        slots: of live workers that serve the lane.
        held: the hold of the lane.
        ahead: ready jobs of more urgent lanes that need the same limits.
    """
    now_ms = round(at.timestamp() * 1000)
    entering, leaving = counts.flow_per_minute(elapsed_ms=now_ms % MINUTE_MS)
    size = counts.ready + counts.leased + counts.scheduled
    now = FlowNote(now_ms, counts.left, size, counts.ready + limits.held_back)
    notes = [one for one in read_notes(counts.notes) if one.at_ms <= now_ms]
    return DrainFacts(
        ready=counts.ready,
        leased=counts.leased,
        delayed=counts.scheduled,
        retrying=counts.retrying,
        parked=counts.parked,
        held_back=limits.held_back,
        due_within=tuple(zip(DUE_WITHIN_S, counts.due_within, strict=False)),
        last_due_s=max(0, counts.last_due_ms - now_ms) / 1000,
        slots=slots,
        is_held=held is not None,
        held_s=(held.until - at).total_seconds() if held and held.until else None,
        notes=(*notes, now) if notes else (),
        in_per_minute=entering,
        out_per_minute=leaving,
        needed=_facts_of(limits, limits.states),
        named=_facts_of(limits, limits.named),
        ahead=ahead,
    )


def _facts_of(limits: LaneLimits, states: Sequence[LimitState]) -> tuple[LimitFacts, ...]:
    return tuple(
        LimitFacts(
            key=one.key,
            budget=limits.budgets.get(one.key, LimitBudget()),
            blocked=one.blocked,
            running=one.running,
            places=None if one.limit is None else one.limit.concurrency,
            is_used_up=one.room == 0,
        )
        for one in states
    )
