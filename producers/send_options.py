"""From when a job may run, until when it is worth running, and which limit it counts against. No I/O.

A span (``delay``, ``expires`` as a timedelta, a message's ``life``) is counted by Redis's clock from the moment
at which Redis takes the job; an instant (``at``, ``expires`` as a datetime) is one, whoever's clock shows it.
Everything that cannot be meant is refused here: a naive datetime, a deadline that comes before the job may run.
An ``at`` that has passed means now: somebody was late, and the work is as wanted as before.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import InvalidRequest
from .limits.limit import LimitError, check_key

NO_DELAY = timedelta(0)
LONGEST_DELAY = timedelta(days=366)


@dataclass(slots=True)  # not frozen: one is made for every call
class SendTimes:
    """Terms as they travel.

    Attributes:
        asked_ms: when the call was made, by the producer's clock.
        delay_ms: from when Redis takes it, when ``at_ms`` is None.
        at_ms: the instant from which it may run.
        wait_ms: how long after the call that is, by the producer's clock.
        expires_ms: the instant from which it is not worth running, or None.
        expires_in_ms: the same as a span from when Redis takes it, or None.
    """

    asked_ms: int
    delay_ms: int
    at_ms: int | None
    wait_ms: int
    expires_ms: int | None
    expires_in_ms: int | None


@dataclass(frozen=True, slots=True)
class SendOptions:
    """What a caller of ``send`` asks for besides the message.

    Attributes:
        delay, at: from when it may run; at most one of them.
        expires: until when; a timedelta counts from when Redis takes it.
        limit: the key of a limit that it counts against, like ``customer:42``.
    """

    delay: timedelta = NO_DELAY
    at: datetime | None = None
    expires: datetime | timedelta | None = None
    limit: str | None = None

    def times(self, now: datetime) -> SendTimes:
        """These terms for a call made now.

        Raises:
            InvalidRequest: naming the argument.
        """
        self._check_limit()
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
            raise InvalidRequest(f"at: {at.isoformat()} is more than {LONGEST_DELAY.days} days away")
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
                f"expires: {deadline.isoformat()} is not after {due.isoformat()}, when it may first run; "
                "it would never run"
            )
        return deadline

    def _check_limit(self) -> None:
        if self.limit is None:
            return
        try:
            check_key(self.limit)
        except LimitError as refusal:
            raise InvalidRequest(str(refusal)) from None


def milliseconds(duration: timedelta) -> int:
    """Whole milliseconds, as the wire has them."""
    return round(duration / timedelta(milliseconds=1))


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def _aware(name: str, moment: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidRequest(f"{name}: must be a datetime with a time zone, not {moment!r}")
    return moment


def _later(now: datetime, duration: timedelta) -> datetime:
    try:
        return now + duration
    except OverflowError:
        raise InvalidRequest(f"expires: {duration!r} ends after the calendar") from None
