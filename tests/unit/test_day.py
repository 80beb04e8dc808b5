"""The organisation's day: as long as its clocks make it, and every instant is in exactly one."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from reports.day import day_around

ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Madrid",
        "America/Santiago",  # springs forward at midnight: the day begins at 01:00
        "America/Havana",  # falls back at 01:00 to midnight: two midnights, the first counts
        "Africa/Cairo",
        "Asia/Beirut",
        "Asia/Kathmandu",  # a quarter of an hour
        "Australia/Lord_Howe",  # half an hour of summer
        "Pacific/Apia",  # went without 30 December 2011
    ]
).map(ZoneInfo)
INSTANTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  the strategy adds it


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(INSTANTS, ZONES)
def test_a_day_holds_its_instants_and_ends_where_the_next_begins(now: datetime, zone: ZoneInfo) -> None:
    day = day_around(now, zone)
    assert day.start <= now < day.end
    assert day_around(day.start, zone) == day
    assert day_around(day.end, zone).start == day.end
    local = {instant.astimezone(zone).date() for instant in (day.start, now, day.end - timedelta(microseconds=1))}
    assert len(local) == 1
    assert (day.start - timedelta(microseconds=1)).astimezone(zone).date() not in local


@pytest.mark.parametrize(
    ("noon", "zone", "hours"),
    [
        ("2026-03-29T12:00", "Europe/Madrid", 23),
        ("2026-10-25T12:00", "Europe/Madrid", 25),
        ("2026-06-01T12:00", "Europe/Madrid", 24),
        ("2026-09-06T12:00", "America/Santiago", 23),
        ("2026-04-04T12:00", "America/Santiago", 25),
        ("2026-10-04T02:00", "Australia/Lord_Howe", 23.5),
    ],
)
def test_a_day_is_as_long_as_it_is(noon: str, zone: str, hours: float) -> None:
    day = day_around(utc(noon), ZoneInfo(zone))
    assert day.end - day.start == timedelta(hours=hours)
