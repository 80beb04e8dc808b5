"""When a cron fires: a pure calendar in the organisation's zone.

Local times are what people mean by "every day at 2:30", and twice a year they are not plain numbers. As in the
crons of Unix, it matters whether a line names times of day or goes on all day long:

| on the day when   | a local time that | hour and minute are named        | every hour, or every minute |
|-------------------|-------------------|----------------------------------|-----------------------------|
| clocks go forward | does not exist    | fires once, at the gap's end     | does not fire               |
| clocks go back    | comes twice       | fires once, the first time       | fires both times            |

So "at 2:30" fires once on each local day, and "every 15 minutes" never rests longer. A date that a zone left out
(Apia had no 30th of December 2011) has no firing.

A line that can never fire (the 30th of February) is refused when it is made, not waited for.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, product
from zoneinfo import ZoneInfo

_YEARS = 41
"""Within which every possible date comes: the weekday of a leap day comes round in 28 years, or 40 over a
century without one."""
_DAY = timedelta(days=1)
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
        local, found = instant.astimezone(ZoneInfo(self.zone)), list[datetime]()
        for today in self._dates(local.date() - _DAY):
            plain = _is_ordinary(today, self.zone)
            if plain and today < local.date():
                continue
            start = local.time() if today == local.date() else time.min
            fired = self._plainly(today, self._times(from_time=start)) if plain else self._carefully(today)
            known = len(found)
            found += islice((one for one in fired if one > instant), 1)
            if found and (plain or known):  # the clocks may have shown the next date before the end of this one
                return min(found)
        raise AssertionError("a schedule that never fires was refused when it was made")  # pragma: no cover

    def last_until(self, instant: datetime) -> datetime:
        """The last firing up to and with this instant, in UTC."""
        local, found = instant.astimezone(ZoneInfo(self.zone)), list[datetime]()
        for today in self._dates(local.date() + _DAY, step=-1):
            plain = _is_ordinary(today, self.zone)
            if plain and today > local.date():
                continue
            end = local.time() if today == local.date() else time.max
            fired = self._plainly(today, self._times(back_from=end)) if plain else self._carefully(today)[::-1]
            known = len(found)
            found += islice((one for one in fired if one <= instant), 1)
            if found and (plain or known):
                return max(found)
        raise AssertionError("a schedule that never fires was refused when it was made")  # pragma: no cover

    def _plainly(self, today: date, times: Iterable[time]) -> Iterator[datetime]:
        """The instants of local times of an ordinary date, in their order."""
        zone = ZoneInfo(self.zone)
        return (datetime.combine(today, at, tzinfo=zone).astimezone(UTC) for at in times)

    def _carefully(self, today: date) -> list[datetime]:
        """All firings of a date near which the clocks are put, rising."""
        hours, minutes, seconds = (tuple(sorted(self._values(name))) for name in ("hour", "minute", "second"))
        rule = _all_readings if self._goes_on_all_day else _once_a_day
        found = set[datetime]()
        for minute, is_whole in rule(today, hours, minutes, self.zone):
            found |= {minute + timedelta(seconds=second) for second in (seconds if is_whole else (0,))}
        return sorted(found)

    @property
    def _goes_on_all_day(self) -> bool:
        return any(self._values(name) >= set(_LIMITS[name]) for name in ("hour", "minute"))

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


Minutes = frozenset[tuple[datetime, bool]]
"""Instants, each with whether its minute is the one asked for: else it is the end of a gap in its place."""


@lru_cache(maxsize=64)
def _is_ordinary(today: date, zone: str) -> bool:
    """Whether the clocks keep their offset all day and on both sides of it, so that local times are in order."""
    midnight = datetime.combine(today, time.min, tzinfo=ZoneInfo(zone))
    return len({(midnight + days * _DAY).utcoffset() for days in (-1, 0, 1, 2)}) == 1


@lru_cache(maxsize=64)
def _all_readings(today: date, hours: tuple[int, ...], minutes: tuple[int, ...], zone: str) -> Minutes:
    """Every instant at which the clocks show one of these times."""
    local = (_local(today, *at, zone, fold) for at in product(hours, minutes) for fold in (0, 1))
    return frozenset((one.astimezone(UTC), True) for one in local if _is_shown(one))


@lru_cache(maxsize=64)
def _once_a_day(today: date, hours: tuple[int, ...], minutes: tuple[int, ...], zone: str) -> Minutes:
    """Of each of these times the first instant, and the end of the gap for one that was skipped."""
    if _first_instant(_local(today, 0, 0, zone)).astimezone(ZoneInfo(zone)).date() != today:
        return frozenset()  # the zone left this date out
    local = (_local(today, *at, zone) for at in product(hours, minutes))
    return frozenset((_first_instant(one), _is_shown(one)) for one in local)


def _local(today: date, hour: int, minute: int, zone: str, fold: int = 0) -> datetime:
    return datetime.combine(today, time(hour, minute, fold=fold), tzinfo=ZoneInfo(zone))


def _is_shown(local: datetime) -> bool:
    """Whether the clocks ever show this time."""
    back = local.astimezone(UTC).astimezone(local.tzinfo)
    return back.replace(tzinfo=None) == local.replace(tzinfo=None)


def _first_instant(local: datetime) -> datetime:
    return local.astimezone(UTC) if _is_shown(local) else _end_of_gap(local)


def _end_of_gap(local: datetime) -> datetime:
    """Where the clocks jumped: the offsets before and after it differ, and it lies between their readings."""
    before = local.replace(fold=0).utcoffset() or timedelta(0)
    after = local.replace(fold=1).utcoffset() or timedelta(0)
    early, late = sorted((local.replace(tzinfo=UTC) - before, local.replace(tzinfo=UTC) - after))
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if middle.astimezone(local.tzinfo).utcoffset() == early.astimezone(local.tzinfo).utcoffset():
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
