"""Facts of a lane's forecast, out of what the depth's query read."""

from collections.abc import Sequence
from datetime import datetime

from ops.depth.counts import Counts
from ops.depth.drain import MINUTE_MS
from ops.depth.flow import FlowNote, read_notes
from ops.depth.forecast import DUE_WITHIN_S, DrainFacts, LimitFacts
from ops.depth.lane_limits import LaneLimits
from ops.lanes.hold import Hold
from ops.limits.budget import LimitBudget
from producers.limits.limits import LimitState


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
