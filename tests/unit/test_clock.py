"""When a refresh is asked for: at the report's pace and at the organisation's midnight, whatever the clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from jobs.reports import Report
from worker.clock import wait_until_tick
from worker.reports.day import day_around

MADRID = ZoneInfo("Europe/Madrid")
BOGOTA = ZoneInfo("America/Bogota")
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
SECOND = timedelta(seconds=1)


def report(every: timedelta, *, next_midnight: bool = False) -> Report:
    return Report(
        name="sales",
        title="",
        sql="",
        parameters=(),
        scope="",
        tree="",
        rollup={},
        every=every,
        soft=SECOND,
        hard=every,
        debounce=SECOND,
        next_midnight=next_midnight,
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@settings(deadline=None)
@given(st.timedeltas(timedelta(milliseconds=1), timedelta(days=2)), INSTANTS, ZONES)
def test_ticks_are_multiples_of_the_pace_and_every_worker_has_the_same(
    every: timedelta, now: datetime, zone: ZoneInfo
) -> None:
    wait = wait_until_tick(report(every), now, zone)
    assert timedelta(0) < wait <= every
    assert (now + wait - datetime(1970, 1, 1, tzinfo=UTC)) % every == timedelta(0)


@settings(deadline=None)
@given(st.timedeltas(SECOND, timedelta(days=2)), INSTANTS, ZONES)
def test_midnight_is_a_tick_when_the_numbers_change_with_the_day(
    every: timedelta, now: datetime, zone: ZoneInfo
) -> None:
    wait = wait_until_tick(report(every, next_midnight=True), now, zone)
    midnight = day_around(now, zone).end
    assert timedelta(0) < wait <= every
    assert now + wait == midnight or (wait == wait_until_tick(report(every), now, zone) and now + wait < midnight)


@settings(deadline=None)
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


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        ("2026-11-22T10:00:00", timedelta(hours=1)),
        ("2026-11-22T10:59:59", SECOND),
        ("2026-11-22T22:30:00", timedelta(minutes=30)),  # midnight in winter is 23:00 UTC
        ("2026-07-01T21:45:00", timedelta(minutes=15)),  # and in summer 22:00
        ("2026-03-28T22:59:59", SECOND),  # the eve of the short day
        ("2026-03-29T21:59:59", SECOND),  # its end
        ("2026-10-25T22:59:59", SECOND),  # the end of the long one
    ],
)
def test_an_hourly_report_ticks_on_the_hour_through_the_change_of_clocks(now: str, wait: timedelta) -> None:
    assert wait_until_tick(report(timedelta(hours=1), next_midnight=True), utc(now), MADRID) == wait


def test_midnight_is_the_organisations_and_not_utcs() -> None:
    daily = report(timedelta(hours=12), next_midnight=True)
    assert wait_until_tick(daily, utc("2026-11-23T04:59:00"), BOGOTA) == timedelta(minutes=1)
    assert wait_until_tick(daily, utc("2026-11-22T23:59:00"), BOGOTA) == timedelta(
        minutes=1
    )  # the pace's own tick
    assert wait_until_tick(daily, utc("2026-11-23T05:00:00"), BOGOTA) == timedelta(hours=7)
