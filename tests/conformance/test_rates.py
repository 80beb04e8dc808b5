"""The arithmetic of buckets: the script itself, on a clock of the test's own, as the other side counts it."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from redis import Redis

from producers.limits.limit import Rate
from tests.admission import KEYS, START, Visit, admit, define, drive, instants, milliseconds, never_more

visits = st.lists(
    st.tuples(st.integers(0, 900) | st.integers(0, 20_000), st.integers(1, 25)), min_size=1, max_size=60
)
windows = st.integers(1, 20_000).map(lambda ms: timedelta(milliseconds=ms))


@pytest.fixture
def redis(valkey_url: str) -> Redis:
    return Redis.from_url(valkey_url)


on_the_server = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@on_the_server
@given(count=st.integers(1, 40), per=windows, burst_share=st.floats(0, 1), visits=visits)
@example(count=1, per=timedelta(milliseconds=7), burst_share=1.0, visits=[(1, 5)] * 50)
@example(count=7, per=timedelta(milliseconds=1000), burst_share=0.5, visits=[(1, 9)] * 60)
@example(count=3, per=timedelta(milliseconds=10), burst_share=0.0, visits=[(1, 1)] * 60)
def test_no_window_ever_sees_more_than_the_other_side_allows(
    redis: Redis, count: int, per: timedelta, burst_share: float, visits: list[Visit]
) -> None:
    admitted = drive(redis, [Rate.within(count, per, burst_share=burst_share)], visits)
    assert never_more(instants(admitted), count, per)


@on_the_server
@given(
    rates=st.lists(st.builds(Rate, st.integers(1, 40), windows, st.integers(1, 9)), min_size=1, max_size=3),
    visits=visits,
)
def test_the_next_one_may_begin_when_it_is_said_and_not_before(
    redis: Redis, rates: list[Rate], visits: list[Visit]
) -> None:
    *_, (at, _, free_at) = drive(redis, rates, visits)
    wait = free_at - at
    for early, room in ((1, 0), (0, 1)):
        if wait >= early:
            *_, (_, taken, _) = drive(redis, rates, [*visits, (wait - early, 1)])
            assert taken == (1 if wait == 0 else room)


@on_the_server
@given(rate=st.builds(Rate, st.integers(1, 40), windows, st.integers(1, 9)), length=st.integers(1, 40))
def test_whoever_comes_whenever_there_is_room_gets_the_whole_rate(redis: Redis, rate: Rate, length: int) -> None:
    visits = [(0, 1)]
    for _ in range(length):
        *_, (at, _, free_at) = drive(redis, [rate], visits)
        visits.append((free_at - at, 1))
    admitted = drive(redis, [rate], visits)
    assert all(taken == 1 for _, taken, _ in admitted)
    ideal = max(0, length + 1 - rate.burst) * milliseconds(rate.per) / rate.count
    assert admitted[-1][0] - START <= ideal + length + 1  # each instant is a whole millisecond, rounded up


@on_the_server
@given(burst=st.integers(1, 20), reserve=st.floats(0, 0.99))
def test_who_is_not_urgent_leaves_the_reserve_and_has_one_at_least(
    redis: Redis, burst: int, reserve: float
) -> None:
    rate = Rate(1, timedelta(days=30), burst)
    ((_, common, _),) = drive(redis, [rate], [(0, 99)], reserve=reserve, who="")
    assert common >= 1
    assert burst - common >= burst * reserve or common == 1
    assert drive(redis, [rate], [(0, 99)], reserve=reserve) == [(START, burst, START + 30 * 86_400_000)]


def test_a_clock_that_goes_back_stops_a_rate_for_one_bucket_at_most(redis: Redis) -> None:
    rate = Rate(10, timedelta(seconds=1), burst=5)  # a bucket is whole again after half a second
    admitted = drive(redis, [rate], [(0, 9), (-3_600_000, 9), (500, 9)])
    assert [taken for _, taken, _ in admitted] == [5, 0, 5]


def test_a_new_rate_stops_at_most_for_one_bucket_of_its_own(redis: Redis) -> None:
    redis.flushall()
    for rate, wait, expected in (
        (Rate(1, timedelta(days=300)), 0, 1),
        (Rate(10, timedelta(seconds=1), burst=5), 1, 0),
        (Rate(10, timedelta(seconds=1), burst=5), 501, 5),
    ):
        define(redis, [rate])
        ((_, taken, _),) = admit(redis, [(wait, 9)])
        assert taken == expected


def test_buckets_that_are_whole_again_are_forgotten(redis: Redis) -> None:
    redis.flushall()
    define(redis, [Rate(1, timedelta(seconds=1))], key="customer:*")
    for customer in range(400):
        admit(redis, [(customer * 2000, 1)], key=f"customer:{customer}")
    left = redis.eval("return redis.call('HLEN', KEYS[1])", 1, KEYS[1])
    assert isinstance(left, int)
    assert left < 20
