"""Options of a send: the earliest start of a job, its expiry, and the limit that it counts against. No I/O.

A timedelta (``delay``, ``expires``, a message's ``life``) is counted by Redis's clock from the moment at which
Redis takes the job; a datetime (``at``, ``expires``) is an absolute instant. Contradictory options are rejected
here: a naive datetime, an expiry before the job may run. A past ``at`` means now, because the caller was late and
still wants the work.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import InvalidRequest
from .limit_key import LimitError, check_key

NO_DELAY = timedelta(0)
LONGEST_DELAY = timedelta(days=366)


def check_connection_options(budget: object, confirm_replicas: object) -> None:
    """Check the options that hold for all calls of a producer.

    Raises:
        InvalidRequest: an option is not a number, or out of bounds.
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < math.inf:
        raise InvalidRequest(f"budget: must be a number of seconds above 0, not {budget!r}")
    if isinstance(confirm_replicas, bool) or not isinstance(confirm_replicas, int) or confirm_replicas < 0:
        raise InvalidRequest(
            f"confirm_replicas: must be a number of replicas, 0 or more, not {confirm_replicas!r}"
        )


@dataclass(slots=True)  # not frozen: one is made for every call
class SendTimes:
    """Times of a send in the form of the wire format, in milliseconds.

    Attributes:
        asked_ms: time of the call, by the producer's clock.
        delay_ms: time to wait from when Redis takes the job; used if ``at_ms`` is None.
        at_ms: instant from which the job may run, or None.
        wait_ms: time from the call until the job may run, by the producer's clock.
        expires_ms: instant at which the job expires, or None.
        expires_in_ms: time from when Redis takes the job until it expires, or None.
    """

    asked_ms: int
    delay_ms: int
    at_ms: int | None
    wait_ms: int
    expires_ms: int | None
    expires_in_ms: int | None


@dataclass(frozen=True, slots=True)
class SendOptions:
    """Arguments of ``send`` besides the message and its key.

    Attributes:
        delay, at: earliest start of the job; at most one of them.
        expires: expiry of the job; a timedelta counts from when Redis takes it.
        limit: key of a limit that the job counts against, like ``customer:42``.
    """

    delay: timedelta = NO_DELAY
    at: datetime | None = None
    expires: datetime | timedelta | None = None
    limit: str | None = None

    def times(self, now: datetime) -> SendTimes:
        """Return the times of a call made at ``now``.

        Raises:
            InvalidRequest: an option is invalid; the message names it.
        """
        if self.limit is not None:
            checked_limit(self.limit)
        due, asked_ms = self._due(now), epoch_ms(now)
        due_ms = asked_ms if due is now else epoch_ms(due)
        at_ms = None if self.at is None else due_ms
        delay_ms = milliseconds(self.delay) if self.delay else 0
        deadline = self._deadline(now, due)
        is_span = isinstance(self.expires, timedelta)
        return SendTimes(
            asked_ms,
            delay_ms,
            at_ms,
            max(0, due_ms - asked_ms),
            None if deadline is None or is_span else epoch_ms(deadline),
            milliseconds(self.expires) if isinstance(self.expires, timedelta) else None,
        )

    def _due(self, now: datetime) -> datetime:
        if not isinstance(self.delay, timedelta) or not NO_DELAY <= self.delay <= LONGEST_DELAY:
            raise InvalidRequest(
                f"delay: must be a timedelta from 0 to {LONGEST_DELAY.days} days, not {self.delay!r}"
            )
        if self.at is None:
            return now + self.delay if self.delay else now
        if self.delay:
            raise InvalidRequest("at: give either at or delay, not both")
        at = _aware("at", self.at)
        if at - now > LONGEST_DELAY:
            raise InvalidRequest(
                f"at: {at.isoformat()} is over {LONGEST_DELAY.days} days away; that is the maximum"
            )
        return max(at, now)

    def _deadline(self, now: datetime, due: datetime) -> datetime | None:
        if self.expires is None:
            return None
        if isinstance(self.expires, timedelta):
            deadline = _later(now, self.expires)
        else:
            deadline = _aware("expires", self.expires)
        if deadline <= due:
            raise InvalidRequest(
                f"expires: {deadline.isoformat()} is not after {due.isoformat()}, the job's earliest start; "
                "choose a later expiry"
            )
        return deadline


def checked_limit(key: str) -> str:
    """Return the key of a limit. Raises InvalidRequest if it is malformed."""
    try:
        check_key(key)
    except LimitError as refusal:
        raise InvalidRequest(str(refusal)) from None
    return key


def milliseconds(duration: timedelta) -> int:
    """Return a duration in whole milliseconds."""
    return round(duration / timedelta(milliseconds=1)) if duration else 0


def epoch_ms(moment: datetime) -> int:
    """Return a time in milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def _aware(name: str, moment: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidRequest(f"{name}: must be a datetime with a time zone, not {moment!r}")
    return moment


def _later(now: datetime, duration: timedelta) -> datetime:
    try:
        return now + duration
    except OverflowError:
        raise InvalidRequest(f"expires: {duration!r} ends after the year 9999; choose a shorter time") from None
