"""Forecast of a lane: when its work will be done and what that depends on, or why it will not be done. Pure.

    empty      nothing waits that could run
    delayed    the same, and delayed jobs are due later
    held       jobs wait, and an operator holds the lane or all limits that it needs
    no_worker  jobs wait, and no live worker has a slot for them
    stuck      jobs wait, and none has finished for much longer than they take
    in         it shrinks; `seconds` from now no job waits any more
    growing    more arrives than leaves, by `growth` a minute; `seconds` would be enough once arrivals stop
    level      as much arrives as leaves, as far as can be told
    unknown    jobs wait, and there is no pace yet: nothing has finished, and no limit sets one

The pace is measured (`ops.depth.flow`), never guessed. Limits count too: their budgets allow a number of jobs per
period, whatever the pace of the last minute was, since a full bucket is used up at once and refills slowly. If
there are several limits, the last one to finish decides. Jobs that are retried end after the others, midway
between two bounds: that none fails again, and that the last one does and then waits as long as those waiting now.

The forecast ignores workers that come or go, operators' changes, and new arrivals. Jobs that take more than
a minute and five times as long as those before them look stuck, and so do the first ones of a lane after two
minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import reduce
from typing import Final, Literal

from ops.depth.drain_facts import DUE_WITHIN_S, DrainFacts, LimitFacts
from ops.depth.flow import (
    FlowInterval,
    FlowRate,
    arriving_rate,
    idle_seconds,
    leaving_rate,
    read_intervals,
    usual_rate,
)
from ops.limits.budget import time_within

DrainState = Literal["empty", "delayed", "held", "no_worker", "stuck", "in", "growing", "level", "unknown"]
Constraint = Literal["workers", "limit", "hold", "delayed"]

_STUCK_S: Final = 60.0
_STUCK_TIMES: Final = 5
_UNSEEN_S: Final = 120.0
"""Seconds after which a lane in which no job was seen to finish is stuck: a first batch may take a while. Notes
reach back for two and a half minutes, so a lane that hangs stays stuck."""
_LATE_S: Final = 10.0
_LATE_TIMES: Final = 2
"""A lane in which nothing finishes for ten seconds, and for twice the usual time of a job, has no pace."""
_NEARLY: Final = 0.9
_NEGLIGIBLE: Final = 0.02
_ROUNDS: Final = 5
"""Rounds of the estimate: jobs that come due meanwhile lengthen the drain, so more come due; it soon converges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A forecast.

    Attributes:
        seconds: until no job waits that could run; with ``growing``: until then, if nothing more arrived.
        growth: jobs a minute by which the lane grows.
        ends_s: until the jobs that are to be tried again, or are delayed, have run too; None if it is not known.
        constraint: what the end depends on most: the workers, a limit, a hold, or delayed jobs.
        limit: the key of that limit.
        until_s: until the hold or the limit's hold ends; None: it ends when it is released.
        idle_s: for how long nothing has finished, with ``stuck`` and ``unknown``.
    """

    state: DrainState
    seconds: float | None = None
    growth: int = 0
    ends_s: float | None = None
    constraint: Constraint | None = None
    limit: str | None = None
    until_s: float | None = None
    idle_s: float = 0.0


def forecast_drain(facts: DrainFacts) -> Drain:
    """Forecast when a lane's work will be done if the current pace and the limits stay as they are.

    Example:
        >>> drain = forecast_drain(DrainFacts(ready=100, in_per_minute=20, out_per_minute=120, slots=10))
        >>> drain.state, drain.seconds, drain.constraint
        ('in', 60.0, 'workers')
    """
    if not facts.waiting:
        return _without_work(facts)
    if facts.is_held:
        return _after_hold(facts, facts.held_s, limit=None)
    if facts.slots == 0:
        return Drain(state="no_worker", constraint="workers")
    if closed := _closed_limit(facts):
        opens = closed.budget.opens_in
        return _after_hold(facts, None if opens is None else opens.total_seconds(), limit=closed.key)
    return _drain_at_pace(facts)


def _without_work(facts: DrainFacts) -> Drain:
    if not facts.later:
        return Drain(state="empty", seconds=0.0, ends_s=0.0)
    last = facts.last_due_s if facts.later == facts.delayed else max(facts.retry_s, float(DUE_WITHIN_S[0]))
    return Drain(state="delayed", seconds=0.0, ends_s=last, constraint="delayed")


def _after_hold(facts: DrainFacts, until_s: float | None, *, limit: str | None) -> Drain:
    """Return the forecast of a lane that rests: its work begins when the hold ends, at its usual pace."""
    usual = usual_rate(read_intervals(facts.notes))
    seconds = None if until_s is None or not usual else until_s + facts.waiting / usual
    return Drain(state="held", seconds=seconds, constraint="hold", limit=limit, until_s=until_s)


def _closed_limit(facts: DrainFacts) -> LimitFacts | None:
    """Return the limit that opens first, if all that the lane needs are held."""
    now = timedelta(0)
    if not facts.needed or any(one.budget.opens_in == now for one in facts.needed):
        return None
    return min(facts.needed, key=lambda one: timedelta.max if one.budget.opens_in is None else one.budget.opens_in)


def _drain_at_pace(facts: DrainFacts) -> Drain:
    intervals = read_intervals(facts.notes)
    leaving, arriving = _rates(facts, intervals)
    idle = idle_seconds(intervals)
    binding = _binding_limit(facts)
    may_rest = binding is not None or not facts.ready  # a limit may give nothing for long
    if facts.leased or not may_rest:
        usual = _usual_time(facts, intervals)
        if idle >= (_UNSEEN_S if usual is None else max(_STUCK_S, _STUCK_TIMES * usual)):
            return Drain(state="stuck", constraint="workers", idle_s=idle)
        if idle >= max(_LATE_S, _LATE_TIMES * (usual or 0.0)):
            return Drain(state="unknown", constraint="workers", idle_s=idle)
    work, due = float(facts.waiting + facts.leased), 0.0
    for _ in range(_ROUNDS):
        found = _end_of(facts, work + due, leaving, arriving, binding)
        if found.seconds is None or found.state != "in":
            return replace(found, idle_s=idle) if found.state == "unknown" else found
        meanwhile = facts.due_in(found.seconds)
        if meanwhile - due < _NEGLIGIBLE * work:
            break
        due = meanwhile
    return _with_later(facts, found)


def _rates(facts: DrainFacts, intervals: Sequence[FlowInterval]) -> tuple[FlowRate | None, FlowRate]:
    """Return the pace of leaving and arriving: measured, or of the last minute where no worker notes the flow."""
    if len(facts.notes) > 1:
        return leaving_rate(intervals, running=facts.leased), arriving_rate(intervals)
    error = (facts.in_per_minute + facts.out_per_minute) ** 0.5 / 60
    leaving = FlowRate(facts.out_per_minute / 60, error) if facts.out_per_minute else None
    return leaving, FlowRate(facts.in_per_minute / 60, 0.0)


def _usual_time(facts: DrainFacts, intervals: Sequence[FlowInterval]) -> float | None:
    """Return the seconds that a job took while jobs finished, by Little's law; None if none was seen to finish."""
    usual = usual_rate(intervals)
    return max(1, facts.leased) / usual if usual else None


def _binding_limit(facts: DrainFacts) -> LimitFacts | None:
    """Return a limit that the lane needs, if none of them has room."""
    if facts.needed and all(one.is_used_up for one in facts.needed):
        return facts.needed[0]
    return None


def _end_of(
    facts: DrainFacts, work: float, leaving: FlowRate | None, arriving: FlowRate, binding: LimitFacts | None
) -> Drain:
    """Return when an amount of work is done: by the workers' pace, or later because of a limit."""
    by_pace = _at_pace(work, leaving, arriving)
    by_limit = _within_budgets(facts, work - facts.leased, arriving)
    if binding is not None and _has_rates(facts.needed) and not _fills_places(binding):
        return by_limit or _too_much(facts, arriving)
    found = _later_of(by_pace, by_limit or _too_much(facts, arriving) if _has_rates(facts.needed) else None)
    if binding is not None and found.constraint == "workers":
        found = replace(found, constraint="limit", limit=binding.key)
    named = [one for limit in facts.named if (one := _named_limit(facts, limit, leaving)) is not None]
    if found.state == "unknown" and not facts.ready and named:  # there is no pace but that of the limits
        found = named[0]
    return reduce(_later_of, named, found)


def _at_pace(work: float, leaving: FlowRate | None, arriving: FlowRate) -> Drain:
    if leaving is None or not leaving.per_second:
        growth = round(arriving.per_second * 60)
        state: DrainState = "growing" if leaving is not None and growth else "unknown"
        return Drain(state=state, growth=growth if state == "growing" else 0, constraint="workers")
    alone = work / leaving.per_second
    net = leaving.per_second - arriving.per_second
    doubt = (leaving.error**2 + arriving.error**2) ** 0.5 if arriving.per_second else 0.0
    if net > doubt:
        return Drain(state="in", seconds=work / net, ends_s=work / net, constraint="workers")
    growth = round(-net * 60)
    if -net > doubt and growth > 0:
        return Drain(state="growing", seconds=alone, growth=growth, constraint="workers")
    return Drain(state="level", constraint="workers")


def _within_budgets(facts: DrainFacts, jobs: float, arriving: FlowRate) -> Drain | None:
    """Return when the limits that the lane needs have let all its jobs begin; None if they never do."""
    budgets = [one.budget for one in facts.needed]
    time = time_within(jobs + facts.ahead, budgets, arriving=arriving.per_second)
    if time is None:
        return None
    seconds = time.total_seconds()
    return Drain(state="in", seconds=seconds, ends_s=seconds, constraint="limit", limit=facts.needed[0].key)


def _too_much(facts: DrainFacts, arriving: FlowRate) -> Drain:
    """Return the forecast of a lane to which more arrives than its limits let begin."""
    day = timedelta(days=1)
    allowed = sum(one.budget.capacity_within(11 * day) - one.budget.capacity_within(day) for one in facts.needed)
    growth = round((arriving.per_second - allowed / (10 * day.total_seconds())) * 60)
    key = facts.needed[0].key
    if growth > 0:
        return Drain(state="growing", growth=growth, constraint="limit", limit=key)
    return Drain(state="level", constraint="limit", limit=key)


def _named_limit(facts: DrainFacts, limit: LimitFacts, leaving: FlowRate | None) -> Drain | None:
    """Return when all jobs that name a limit have begun; a concurrency limit gets its share of the pace."""
    opens = limit.budget.opens_in
    if not limit.blocked:
        return None
    if opens is None:
        return Drain(state="held", constraint="hold", limit=limit.key)
    time = time_within(limit.blocked, [limit.budget])
    seconds = 0.0 if time is None else time.total_seconds()
    if limit.places is not None and limit.running and leaving and leaving.per_second:
        takes = max(facts.leased, limit.running) / leaving.per_second
        seconds = max(seconds, (limit.blocked + limit.running) * takes / limit.running)
    return Drain(state="in", seconds=seconds, ends_s=seconds, constraint="limit", limit=limit.key)


def _has_rates(limits: Sequence[LimitFacts]) -> bool:
    return bool(limits) and all(one.budget.rates for one in limits)


def _fills_places(limit: LimitFacts) -> bool:
    return limit.places is not None and limit.running >= limit.places


def _later_of(first: Drain, second: Drain | None) -> Drain:
    """Return the one that decides: the one that does not end, else the later one; a limit if both end together."""
    if second is None or first.state in {"growing", "level", "held"}:
        return first
    if second.state != "in":
        return second
    if first.state == "unknown" or first.seconds is None or second.seconds is None:
        return first
    if second.seconds < _NEARLY * first.seconds:
        return first
    seconds = max(first.seconds, second.seconds)
    return replace(second, seconds=seconds, ends_s=seconds)


def _with_later(facts: DrainFacts, drain: Drain) -> Drain:
    """Add the end of the jobs that are to be tried again or come due only then."""
    seconds = drain.seconds or 0.0
    ends = (max(seconds, facts.retry_s) + seconds + facts.retry_s) / 2
    if facts.later == facts.delayed:
        ends = max(ends, facts.last_due_s)
    is_later = ends > max(2 * seconds, seconds + 1)
    return Drain(
        state="in",
        seconds=seconds,
        ends_s=ends,
        constraint="delayed" if is_later and not drain.limit else drain.constraint,
        limit=drain.limit,
    )
