"""When a cron fires, twice-a-year days included."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from jobs.schedule import InvalidSchedule, Schedule

NIGHTLY = Schedule(hour=2, minute=30, zone="Europe/Madrid")


def after(schedule: Schedule, *instant: int, times: int) -> list[str]:
    fired = datetime(*instant, tzinfo=UTC)  # type: ignore[arg-type]
    found = []
    for _ in range(times):
        fired = schedule.next_after(fired)
        found.append(fired.strftime("%m-%d %H:%M"))
    return found


def test_a_local_time_that_is_skipped_fires_once_at_the_end_of_the_gap() -> None:
    assert after(NIGHTLY, 2026, 3, 27, 12, times=3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_local_time_that_comes_twice_fires_the_first_time_only() -> None:
    assert after(NIGHTLY, 2026, 10, 24, 12, times=3) == ["10-25 00:30", "10-26 01:30", "10-27 01:30"]


def test_what_fires_every_quarter_of_an_hour_rests_for_none_in_the_hour_that_comes_twice() -> None:
    quarters = Schedule(minute={0, 15, 30, 45}, zone="Europe/Madrid")
    fired = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    for _ in range(20):
        following = quarters.next_after(fired)
        assert following - fired == timedelta(minutes=15)
        assert quarters.last_until(following - timedelta(seconds=1)) == fired
        fired = following


def test_what_fires_each_hour_does_not_fire_for_the_hour_that_is_skipped() -> None:
    hourly = Schedule(minute=30, zone="Europe/Madrid")
    assert after(hourly, 2026, 3, 28, 23, 45, times=3) == ["03-29 00:30", "03-29 01:30", "03-29 02:30"]


def test_a_date_that_the_zone_left_out_has_no_firing() -> None:
    nightly = Schedule(hour=2, minute=30, zone="Pacific/Apia")
    assert after(nightly, 2011, 12, 28, 0, times=4) == ["12-28 12:30", "12-29 12:30", "12-30 12:30", "12-31 12:30"]


def test_every_minute_of_a_short_day_fires_once() -> None:
    minutely = Schedule(zone="Europe/Madrid")
    fired = datetime(2026, 3, 29, 0, 58, tzinfo=UTC)
    for _ in range(4):
        following = minutely.next_after(fired)
        assert following - fired == timedelta(minutes=1)
        fired = following


def test_sets_and_weekdays_fit_together() -> None:
    mondays = Schedule(weekday=0, hour={9, 17}, minute=0)
    assert after(mondays, 2026, 11, 23, 12, times=3) == ["11-23 17:00", "11-30 09:00", "11-30 17:00"]


def test_a_leap_day_on_a_monday_is_waited_for() -> None:
    assert Schedule(month=2, day=29, weekday=0, hour=0, minute=0).next_after(datetime(2026, 1, 1, tzinfo=UTC)) == (
        datetime(2044, 2, 29, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"month": 2, "day": 30}, "no date matches"),
        ({"month": {4, 6}, "day": 31}, "no date matches"),
        ({"hour": 24}, "hour: must be from 0 to 23, not 24"),
        ({"minute": set()}, "minute"),
        ({"zone": "Europe/Madird"}, "zone: 'Europe/Madird' is not a time zone"),
        ({"weekday": -1}, "weekday: must be from 0 to 6, not -1"),
    ],
)
def test_a_line_that_never_fires_is_refused_with_its_field(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        Schedule(**fields)  # type: ignore[arg-type]


ODD_DAYS = [
    ("Europe/Madrid", date(2026, 3, 29)),
    ("Europe/Madrid", date(2026, 10, 25)),
    ("America/New_York", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),  # half an hour back
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Atlantic/Azores", date(2026, 3, 29)),  # midnight is skipped
    ("Atlantic/Azores", date(2026, 10, 25)),  # midnight comes twice
    ("America/Havana", date(2026, 3, 8)),
    ("America/Havana", date(2026, 11, 1)),
    ("America/Sao_Paulo", date(2018, 2, 18)),  # the hour before midnight comes twice
    ("America/St_Johns", date(2010, 11, 7)),  # a minute after midnight, back to the day before
    ("Pacific/Apia", date(2011, 12, 30)),  # a date is left out
    ("Africa/Casablanca", date(2026, 2, 15)),
]


@cache
def wall_clock(zone: str, first: datetime, hours: int) -> dict[datetime, datetime]:
    """What the clock on the wall shows at each minute."""
    minutes = [first + timedelta(minutes=n) for n in range(hours * 60)]
    return {one: one.astimezone(ZoneInfo(zone)) for one in minutes}


def read_off(schedule: Schedule, first: datetime, hours: int) -> list[datetime]:
    """Look at the clock on the wall every minute; a promise in other words than the code's."""
    local = wall_clock(schedule.zone, first, hours)
    minutes = list(local)
    hour_wanted, minutes_wanted = schedule.hour, schedule.minute
    assert isinstance(minutes_wanted, set)
    if hour_wanted is None:
        return [one for one in minutes if local[one].minute in minutes_wanted]
    assert isinstance(hour_wanted, int)
    fired = set()
    for day in {one.date() for one in local.values()}:
        shown = [one for one in minutes if local[one].date() == day]
        for minute in minutes_wanted:
            at = time(hour_wanted, minute)
            reached = [one for one in shown if local[one].time() == at]
            fired.add((reached or [end_of_gap(shown, local, at)])[0])
    return sorted(fired)


def end_of_gap(shown: list[datetime], local: dict[datetime, datetime], at: time) -> datetime:
    """The first minute of a day whose clock has leapt over a time."""
    for before, one in pairwise([shown[0] - timedelta(minutes=1), *shown]):
        earlier = local.get(before)
        leapt = local[one].time() > at and (
            earlier is None or earlier.date() < local[one].date() or earlier.time() < at
        )
        if leapt:
            return one
    return shown[-1] + timedelta(minutes=1)  # the gap reaches into the next day


@pytest.mark.parametrize(("zone", "day"), ODD_DAYS, ids=str)
@pytest.mark.parametrize(
    ("hour", "minute"),
    [
        (None, {30}),
        pytest.param(None, {0, 15, 30, 45}, marks=pytest.mark.long),
        *product([None, 0, 2], [{59}]),
        *product([0, 2], [{0, 15, 30, 45}]),
    ],
    ids=str,
)
def test_on_days_when_clocks_are_put_it_fires_as_read_off_the_wall(
    zone: str, day: date, hour: int | None, minute: set[int]
) -> None:
    schedule = Schedule(hour=hour, minute=minute, zone=zone)
    first = datetime.combine(day - timedelta(days=2), time(12), tzinfo=ZoneInfo(zone)).astimezone(UTC)
    first = first.replace(minute=0)
    whole_days = [one for one in read_off(schedule, first - timedelta(days=1), 24 * 7) if one > first]
    wanted = [one for one in whole_days if one <= first + timedelta(days=4)]
    found, fired = [], first
    while (fired := schedule.next_after(fired)) <= first + timedelta(days=4):
        found.append(fired)
    assert found == wanted
    assert all(schedule.last_until(one) == one for one in wanted)
    assert all(schedule.last_until(after - timedelta(seconds=1)) == before for before, after in pairwise(wanted))


@given(
    instant=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  made UTC there
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    zone=st.sampled_from(["UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_the_last_firing_is_the_one_before_the_next(instant: datetime, hour: int, minute: int, zone: str) -> None:
    daily = Schedule(hour=hour, minute=minute, zone=zone)
    last, following = daily.last_until(instant), daily.next_after(instant)
    assert last <= instant < following
    assert daily.next_after(last) == following
    assert timedelta(hours=22) < following - last < timedelta(hours=26)
    assert following.astimezone(ZoneInfo(zone)).date() != last.astimezone(ZoneInfo(zone)).date()
