"""Forecast of a lane: when it will be empty at the present pace, and why its jobs wait. Pure decisions.

A forecast from the mean run time of finished jobs fails when it matters most: while nothing finishes the mean is
zero, so a stuck queue looks empty. Here the pace is the number of jobs that entered and left during the last
minute, arrivals count against it, and a lane without a worker never reads as a short wait.

    empty      nothing is ready
    held       something is ready, and an operator holds the lane
    no_worker  something is ready, and no live worker has a slot for it
    in         it shrinks; `seconds` from now it is empty
    growing    more arrives than leaves, by `growth` a minute; `seconds` would be enough once arrivals stop
    level      as much arrives as leaves
    stalled    nothing arrived and nothing finished during the last minute; there is no pace to compute with

The forecast never guesses a pace that was not measured, and leaves out jobs scheduled for later. During a burst it
may say "growing" for a minute, which is true; the time beside it says more.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

DrainState = Literal["empty", "held", "no_worker", "in", "growing", "level", "stalled"]
Reason = Literal["held", "no_worker", "limits", "slots_busy", "ceiling", "not_claiming", "quiet"]

MINUTE_MS = 60_000
CLAIMED_WITHIN = timedelta(seconds=5)
"""A due job that finds a free slot is claimed within the workers' safety poll of a second; this is well above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A forecast.

    Attributes:
        seconds: until the lane is empty; with ``growing``: until it would be, if nothing more arrived.
        growth: jobs a minute by which it grows.
    """

    state: DrainState
    seconds: float | None = None
    growth: int = 0


def per_minute(before: int, running: int, *, elapsed_ms: int) -> float:
    """Return the number of events in the last 60 seconds.

    That is all of the running minute, and of the minute before the part that is still within them, as if its
    events were evenly spread.

    Args:
        before: counted during the last full minute.
        running: counted so far during the running one.
        elapsed_ms: how much of the running one is over.

    Example:
        >>> per_minute(40, 10, elapsed_ms=15_000)
        40.0
    """
    return running + before * (1 - elapsed_ms / MINUTE_MS)


def forecast_drain(
    *, ready: int, in_per_minute: float, out_per_minute: float, slots: int, held: bool = False
) -> Drain:
    """Forecast when a lane will be empty if the last minute's pace continues.

    Args:
        slots: of live workers that serve the lane, busy or not.

    Example:
        >>> forecast_drain(ready=100, in_per_minute=20, out_per_minute=120, slots=10)
        Drain(state='in', seconds=60.0, growth=0)
    """
    if ready == 0:
        return Drain(state="empty")
    if held:
        return Drain(state="held")
    if slots == 0:
        return Drain(state="no_worker")
    if out_per_minute > in_per_minute:
        return Drain(state="in", seconds=ready / (out_per_minute - in_per_minute) * 60)
    growth = round(in_per_minute - out_per_minute)
    if growth > 0:
        alone = ready / out_per_minute * 60 if out_per_minute else None
        return Drain(state="growing", seconds=alone, growth=growth)
    return Drain(state="level" if out_per_minute else "stalled")


def wait_reason(
    *,
    ready: int,
    oldest: timedelta,
    out_per_minute: float,
    slots: int,
    busy: int,
    leased: int,
    held: bool = False,
    limits_used_up: bool = False,
) -> Reason | None:
    """Return why ready jobs wait, or None if none waits or they are about to be claimed.

    Args:
        oldest: the time since the first of them became ready.
        slots, busy: of live workers, as they last reported.
        leased: live leases now, which are newer than the workers' reports.
        limits_used_up: True if none of the limits that the lane needs has room.
    """
    if ready == 0:
        return None
    if held:
        return "held"
    if slots == 0:
        return "no_worker"
    if limits_used_up:
        return "limits"
    if max(busy, leased) >= slots:
        return "slots_busy"
    unclaimed = oldest > CLAIMED_WITHIN and not out_per_minute
    return "not_claiming" if unclaimed else None


def reason_at_ceiling(why: Reason | None, *, ready: int, at_ceiling: bool, quiet: bool = False) -> Reason | None:
    """Return a lane's reason, given what its workers may do.

    Args:
        at_ceiling: True if they may run no more jobs in all their lanes together.
        quiet: True if there are some, and they claim no new jobs.
    """
    if why == "no_worker" and quiet:
        return "quiet"
    return "ceiling" if at_ceiling and ready and why in {None, "not_claiming"} else why
