"""Schedules of crons: a pure calendar in the organisation's time zone.

"Every day at 2:30" means local time, and twice a year local times are missing or occur twice. As in Unix cron, it
matters whether a schedule names times of day or fires all day long:

| on the day when   | a local time that | hour and minute are named        | every hour, or every minute |
|-------------------|-------------------|----------------------------------|-----------------------------|
| clocks go forward | does not exist    | fires once, at the gap's end     | does not fire               |
| clocks go back    | comes twice       | fires once, the first time       | fires both times            |

So "at 2:30" fires once on each local day, and "every 15 minutes" never pauses longer. A date that a zone skipped
(Apia had no 30th of December 2011) has no firing.

A schedule that can never fire (the 30th of February) raises an error when it is constructed.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, product
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_YEARS = 41
"""Years within which every possible date occurs: the weekday of a leap day recurs after 28 years, or after 40 over
a century year that is not a leap year."""
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
    """A schedule has a field out of range, or never fires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron schedule; None means "every", a number or a set of numbers means "at".

    Attributes:
        weekday: 0 is Monday. If both day and weekday are given, both must match.
        zone: the IANA name of the time zone of all fields.

    Raises:
        InvalidSchedule: a field is out of range, or the schedule never fires.

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
                wrong = getattr(self, name)
                raise InvalidSchedule(f"{name}: must be from {limits[0]} to {limits[-1]}, not {wrong!r}")
        try:
            ZoneInfo(self.zone)
        except (ValueError, TypeError, OSError, ZoneInfoNotFoundError):
            raise InvalidSchedule(
                f"zone: {self.zone!r} is not a time zone; give a name like Europe/Madrid"
            ) from None
        if next(self._dates(date(2000, 1, 1)), None) is None:
            fields = f"month {self.month}, day {self.day}, weekday {self.weekday}"
            raise InvalidSchedule(f"month, day, weekday: no date matches ({fields}); choose values of a real date")

    def next_after(self, instant: datetime) -> datetime:
        """Return the first firing after this instant, in UTC."""
        local, found = instant.astimezone(ZoneInfo(self.zone)), list[datetime]()
        for today in self._dates(local.date() - _DAY):
            plain = _is_ordinary(today, self.zone)
            if plain and today < local.date():
                continue
            start = local.time() if today == local.date() else time.min
            fired = (
                self._ordinary_firings(today, self._times(from_time=start))
                if plain
                else self._change_firings(today)
            )
            known = len(found)
            found += islice((one for one in fired if one > instant), 1)
            # near a clock change, the next date may begin before this one ends
            if found and (plain or known):
                return min(found)
        raise AssertionError("schedule: never fires; its constructor should have refused it")  # pragma: no cover

    def last_until(self, instant: datetime) -> datetime:
        """Return the last firing up to and including this instant, in UTC."""
        local, found = instant.astimezone(ZoneInfo(self.zone)), list[datetime]()
        for today in self._dates(local.date() + _DAY, step=-1):
            plain = _is_ordinary(today, self.zone)
            if plain and today > local.date():
                continue
            end = local.time() if today == local.date() else time.max
            fired = (
                self._ordinary_firings(today, self._times(back_from=end))
                if plain
                else self._change_firings(today)[::-1]
            )
            known = len(found)
            found += islice((one for one in fired if one <= instant), 1)
            if found and (plain or known):
                return max(found)
        raise AssertionError("schedule: never fires; its constructor should have refused it")  # pragma: no cover

    def _ordinary_firings(self, today: date, times: Iterable[time]) -> Iterator[datetime]:
        """Return the instants of local times of an ordinary date, in their order."""
        zone = ZoneInfo(self.zone)
        return (datetime.combine(today, at, tzinfo=zone).astimezone(UTC) for at in times)

    def _change_firings(self, today: date) -> list[datetime]:
        """Return all firings on a date near a clock change, in ascending order."""
        hours, minutes, seconds = (tuple(sorted(self._values(name))) for name in ("hour", "minute", "second"))
        rule = _all_readings if self._fires_all_day else _once_a_day
        found = set[datetime]()
        for minute, is_whole in rule(today, hours, minutes, self.zone):
            found |= {minute + timedelta(seconds=second) for second in (seconds if is_whole else (0,))}
        return sorted(found)

    @property
    def _fires_all_day(self) -> bool:
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
        """Yield times of day from a minute on in ascending order, or back from it in descending order."""
        order = -1 if back_from else 1
        hours, minutes, seconds = (sorted(self._values(name))[::order] for name in ("hour", "minute", "second"))
        edge = back_from or from_time
        for hour, minute in product(hours, minutes):
            if (hour, minute) == (edge.hour, edge.minute) or ((hour, minute) > (edge.hour, edge.minute)) == (
                order > 0
            ):
                yield from (time(hour, minute, second) for second in seconds)


Minutes = frozenset[tuple[datetime, bool]]
"""Instants, each with True for a minute of the schedule, False for the end of a gap in place of a skipped one."""


@lru_cache(maxsize=64)
def _is_ordinary(today: date, zone: str) -> bool:
    """Return True if the zone's offset is constant on the date and its neighbours, so that local times ascend."""
    midnight = datetime.combine(today, time.min, tzinfo=ZoneInfo(zone))
    return len({(midnight + days * _DAY).utcoffset() for days in (-1, 0, 1, 2)}) == 1


@lru_cache(maxsize=64)
def _all_readings(today: date, hours: tuple[int, ...], minutes: tuple[int, ...], zone: str) -> Minutes:
    """Return every instant at which local clocks show one of these times."""
    local = (_local(today, *at, zone, fold) for at in product(hours, minutes) for fold in (0, 1))
    return frozenset((one.astimezone(UTC), True) for one in local if _is_shown(one))


@lru_cache(maxsize=64)
def _once_a_day(today: date, hours: tuple[int, ...], minutes: tuple[int, ...], zone: str) -> Minutes:
    """Return the first instant of each of these times, and the end of the gap for a skipped time."""
    if _first_instant(_local(today, 0, 0, zone)).astimezone(ZoneInfo(zone)).date() != today:
        return frozenset()  # the zone skipped this date
    local = (_local(today, *at, zone) for at in product(hours, minutes))
    return frozenset((_first_instant(one), _is_shown(one)) for one in local)


def _local(today: date, hour: int, minute: int, zone: str, fold: int = 0) -> datetime:
    return datetime.combine(today, time(hour, minute, fold=fold), tzinfo=ZoneInfo(zone))


def _is_shown(local: datetime) -> bool:
    """Return True if the clocks ever show this time."""
    back = local.astimezone(UTC).astimezone(local.tzinfo)
    return back.replace(tzinfo=None) == local.replace(tzinfo=None)


def _first_instant(local: datetime) -> datetime:
    return local.astimezone(UTC) if _is_shown(local) else _end_of_gap(local)


def _end_of_gap(local: datetime) -> datetime:
    """Return the instant of the clock change, by bisection between the readings with the offsets on both sides."""
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
