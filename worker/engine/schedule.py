"""When a cron fires: a pure calendar in the organisation's zone.

Local times are what people mean by "every day at 2:30", and twice a year they are not plain numbers:

| on the day when            | a local time that          | fires                                   |
|----------------------------|----------------------------|-----------------------------------------|
| clocks go forward          | does not exist             | once, at the first instant after the gap |
| clocks go back             | comes twice                | once, the first time                     |

A line that can never fire (the 30th of February) is refused when it is made, not waited for.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import product
from zoneinfo import ZoneInfo

_YEARS = 41
"""Within which every possible date comes: the weekday of a leap day comes round in 28 years, or 40 over a
century without one."""
_LIMITS = {
    "month": range(1, 13),
    "day": range(1, 32),
    "weekday": range(7),
    "hour": range(24),
    "minute": range(60),
    "second": range(60),
}


class InvalidSchedule(ValueError):
    """A cron line with a field out of range, or one that never fires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron line; None is "every", a number or a set of numbers is "at".

    Attributes:
        weekday: 0 is Monday. Both day and weekday must fit when both are given.
        zone: an IANA name; whose clock is meant.

    Raises:
        InvalidSchedule: see there.

    Example:
        >>> Schedule(hour=2, minute=30, zone="Europe/Madrid").next_after(datetime(2026, 3, 28, 12, tzinfo=UTC))
        datetime.datetime(2026, 3, 29, 1, 0, tzinfo=datetime.timezone.utc)
    """

    month: int | Collection[int] | None = None
    day: int | Collection[int] | None = None
    weekday: int | Collection[int] | None = None
    hour: int | Collection[int] | None = None
    minute: int | Collection[int] | None = None
    second: int | Collection[int] = 0
    zone: str = "UTC"

    def __post_init__(self) -> None:
        for name, limits in _LIMITS.items():
            values = self._values(name)
            if not values or not values <= set(limits):
                raise InvalidSchedule(f"{name}: {getattr(self, name)!r} is not within {limits[0]} to {limits[-1]}")
        if next(self._dates(date(2000, 1, 1)), None) is None:
            date_asked = f"month {self.month}, day {self.day}, weekday {self.weekday}"
            raise InvalidSchedule(f"{date_asked}: no such date ever comes")

    def next_after(self, instant: datetime) -> datetime:
        """The first firing after this instant, in UTC."""
        local = instant.astimezone(ZoneInfo(self.zone))
        for today in self._dates(local.date()):
            start = local.time() if today == local.date() and _is_ordinary(today, local.tzinfo) else time.min
            for at in self._times(from_time=start):
                if (fired := _first_instant(today, at, local.tzinfo)) > instant:
                    return fired
        raise AssertionError("a schedule that never fires was refused when it was made")  # pragma: no cover

    def last_until(self, instant: datetime) -> datetime:
        """The last firing up to and with this instant, in UTC."""
        local = instant.astimezone(ZoneInfo(self.zone))
        for today in self._dates(local.date(), step=-1):
            end = local.time() if today == local.date() and _is_ordinary(today, local.tzinfo) else time.max
            for at in self._times(back_from=end):
                if (fired := _first_instant(today, at, local.tzinfo)) <= instant:
                    return fired
        raise AssertionError("a schedule that never fires was refused when it was made")  # pragma: no cover

    def _values(self, name: str) -> set[int]:
        value = getattr(self, name)
        if value is None:
            return set(_LIMITS[name])
        return {value} if isinstance(value, int) else set(value)

    def _dates(self, first: date, step: int = 1) -> Iterator[date]:
        months, days, weekdays = (self._values(name) for name in ("month", "day", "weekday"))
        for offset in range(366 * _YEARS):
            today = first + timedelta(days=offset * step)
            if today.month in months and today.day in days and today.weekday() in weekdays:
                yield today

    def _times(self, *, from_time: time = time.min, back_from: time | None = None) -> Iterator[time]:
        """Times of day in order, from one on; or in the opposite order, from one back; to the minute."""
        order = -1 if back_from else 1
        hours, minutes, seconds = (sorted(self._values(name))[::order] for name in ("hour", "minute", "second"))
        edge = back_from or from_time
        for hour, minute in product(hours, minutes):
            if (hour, minute) == (edge.hour, edge.minute) or ((hour, minute) > (edge.hour, edge.minute)) == (
                order > 0
            ):
                yield from (time(hour, minute, second) for second in seconds)


def _is_ordinary(today: date, zone: tzinfo | None) -> bool:
    """Whether the clocks keep their offset all day, so that local times are in the order of instants."""
    midnight = datetime.combine(today, time.min, tzinfo=zone)
    return midnight.utcoffset() == (midnight + timedelta(days=1)).utcoffset()


def _first_instant(today: date, at: time, zone: tzinfo | None) -> datetime:
    """The instant of a local time; for one that was skipped, the end of the gap."""
    local = datetime.combine(today, at, tzinfo=zone)
    instant = local.astimezone(UTC)
    back = instant.astimezone(zone)
    if back.replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    return _end_of_gap(local, zone)


def _end_of_gap(local: datetime, zone: tzinfo | None) -> datetime:
    """Where the clocks jumped: the offsets before and after it differ, and it lies between their readings."""
    before = local.replace(fold=0).utcoffset() or timedelta(0)
    after = local.replace(fold=1).utcoffset() or timedelta(0)
    early, late = sorted((local.replace(tzinfo=UTC) - before, local.replace(tzinfo=UTC) - after))
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(zone).utcoffset() == early.astimezone(zone).utcoffset():
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
