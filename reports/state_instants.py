"""Instant before a database state, by the same clock as the instant after it.

The server gives both: ``now()``, then its clock once the state was taken. If its clock was set in between, for
example while the worker stood still, they are instants of two clocks, and nothing may be compared with the first.
"""

from datetime import datetime, timedelta

from clocks import SET_US

_SET = timedelta(microseconds=SET_US)


def instant_before(
    began: datetime, as_of: datetime, *, taking: timedelta, since_began: timedelta
) -> datetime | None:
    """Return an instant that is certainly before the state; None if the clock was set forward in between.

    None, too, if this machine was suspended and its running time did not count that.

    Args:
        began: the server's ``now()`` of the transaction.
        as_of: the server's clock after the state was taken.
        taking: running time in which the state was taken and ``as_of`` was read.
        since_began: running time since before the transaction began.

    >>> noon, hour = datetime(2026, 11, 28, 12), timedelta(hours=1)
    >>> found = instant_before(noon, noon - hour, taking=hour / 60, since_began=hour)  # the clock was set back
    >>> f"{found:%H:%M}", instant_before(noon, noon + 2 * hour, taking=hour / 60, since_began=hour)
    ('10:59', None)
    """
    if as_of - began > since_began + _SET:
        return None
    return min(began, as_of - taking)
