"""Reasons why a lane's jobs wait, and the counts of the last minute. Pure."""

from datetime import timedelta
from typing import Literal

Reason = Literal["held", "no_worker", "limits", "slots_busy", "ceiling", "not_claiming", "quiet"]

MINUTE_MS = 60_000
CLAIMED_WITHIN = timedelta(seconds=5)
"""Time within which a due job is claimed by a free slot; well above the workers' safety poll of a second."""


def per_minute(before: int, running: int, *, elapsed_ms: int) -> float:
    """Return the number of events in the last 60 seconds.

    That is all of the current minute, and the share of the previous one that is still within them, as if its
    events were evenly spread.

    Args:
        before: counted during the last full minute.
        running: counted so far during the current one.
        elapsed_ms: how much of the current one has passed.

    Example:
        >>> per_minute(40, 10, elapsed_ms=15_000)
        40.0
    """
    return running + before * (1 - elapsed_ms / MINUTE_MS)


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
    """Return the reason why ready jobs wait; None if none waits or they are about to be claimed.

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
