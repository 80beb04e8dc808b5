"""When a cron fires, twice-a-year days included."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from worker.engine.schedule import InvalidSchedule, Schedule

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
        ({"month": 2, "day": 30}, "no such date ever comes"),
        ({"month": {4, 6}, "day": 31}, "no such date ever comes"),
        ({"hour": 24}, "hour: 24 is not within 0 to 23"),
        ({"minute": set()}, "minute"),
        ({"weekday": -1}, "weekday: -1 is not within 0 to 6"),
    ],
)
def test_a_line_that_never_fires_is_refused_with_its_field(fields: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        Schedule(**fields)  # type: ignore[arg-type]


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
