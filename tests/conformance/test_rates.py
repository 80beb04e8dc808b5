"""The arithmetic of rates: the script itself, on a clock of the test's own, against what the other side counts.

`limits.lua` takes the time from whoever opens it, so a run of admissions at any instants is one call here.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from redis import Redis

from jobs.mail.account import Account
from producers import script as scripts
from producers.limit import Limit, Rate
from worker.mail.fleet import limit_of

LIMITS = (Path(scripts.__file__).parent / "scripts" / "limits.lua").read_text(encoding="utf-8")
BEFORE = f"local function require_limits()\n{LIMITS}\nend\n"
DRIVE = """
local limits = require_limits()
local keys = {limits = KEYS[1], buckets = KEYS[2], holds = KEYS[3]}
local reply = {}
for at = 2, #ARGV, 3 do
  limits.known = {}
  limits.open('{test}', tonumber(ARGV[at]), keys, ARGV[at + 2] == 'urgent')
  local it, taken = limits.look(ARGV[1]), 0
  while it.room >= 1 and taken < tonumber(ARGV[at + 1]) do
    limits.take(it, 'x')
    taken = taken + 1
  end
  limits.commit()
  reply[#reply + 1] = {taken, it.room >= 1 and tonumber(ARGV[at]) or limits.free_at(it)}
end
return reply
"""
"""For each instant, how many are asked for, and by whom: how many were let through, and when the next may be."""

KEYS = ("momentus:{test}:limits", "momentus:{test}:buckets", "momentus:{test}:holds")
START = 1_795_400_000_000

Visit = tuple[int, int]
"""Milliseconds since the visit before, and how many are asked for."""

visits = st.lists(
    st.tuples(st.integers(0, 900) | st.integers(0, 20_000), st.integers(1, 25)), min_size=1, max_size=60
)
windows = st.integers(1, 20_000).map(lambda ms: timedelta(milliseconds=ms))


@pytest.fixture
def redis(valkey_url: str) -> Redis:
    return Redis.from_url(valkey_url)


def drive(
    redis: Redis, rates: Sequence[Rate], visits: Sequence[Visit], *, reserve: float = 0, who: str = "urgent"
) -> list[tuple[int, int, int]]:
    """Instant, let through, next possible; for every visit."""
    redis.flushall()
    redis.hset(KEYS[0], "x", Limit("x", tuple(rates), reserve=reserve).to_json().decode())
    now, arguments = START, list[int | str]()
    for step, count in visits:
        now += step
        arguments += [now, count, who]
    reply = redis.register_script(BEFORE + DRIVE)(keys=KEYS, args=["x", *arguments])
    return [(int(at), taken, free) for at, (taken, free) in zip(arguments[::3], reply, strict=True)]


def milliseconds(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))


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
    begun = [at for at, taken, _ in admitted for _ in range(taken)]
    assert all(later - earlier >= milliseconds(per) for earlier, later in zip(begun, begun[count:], strict=False))


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


MINUTE_MS, DAY_MS = 60_000, 86_400_000
quotas = st.integers(1, 12_000)


def begun_by(redis: Redis, account: Account, visits: Sequence[Visit], *, who: str = "urgent") -> list[int]:
    """The instants at which this account's mails begin, since the first visit."""
    limit = limit_of(account)
    admitted = drive(redis, limit.rates, visits, reserve=limit.reserve, who=who)
    return [at - START for at, taken, _ in admitted for _ in range(taken)]


@on_the_server
@given(
    quota=quotas,
    at_once=st.integers(1, 90),
    visits=st.lists(st.tuples(st.integers(0, DAY_MS // 4), st.integers(1, 6000)), min_size=1, max_size=60),
)
@example(quota=500, at_once=10, visits=[(MINUTE_MS, 500)] * 3000)
@example(quota=500, at_once=10, visits=[(0, 500), (DAY_MS - 1, 500), (1, 500)])
def test_no_24_hours_ever_see_more_mails_than_the_account_s_day(
    redis: Redis, quota: int, at_once: int, visits: list[Visit]
) -> None:
    begun = begun_by(redis, Account(name="main", per_day=quota, day_at_once=at_once), visits)
    assert all(later - earlier >= DAY_MS for earlier, later in zip(begun, begun[quota:], strict=False))


@on_the_server
@given(quota=st.integers(1, 1000), who=st.sampled_from(["urgent", ""]))
@example(quota=200, who="")
@example(quota=10_000, who="")
def test_who_sends_without_a_pause_gets_nine_tenths_of_every_day(redis: Redis, quota: int, who: str) -> None:
    """A backlog that is looked at every five minutes, for three days; a mail may be due just after a day's end."""
    begun = begun_by(redis, Account(name="main", per_day=quota), [(5 * MINUTE_MS, quota)] * (3 * 288), who=who)
    for day in (1, 2):
        assert sum(day * DAY_MS < at <= (day + 1) * DAY_MS for at in begun) >= 0.9 * quota - 1


@on_the_server
@given(quota=quotas)
def test_the_24_hours_after_a_rest_see_all_of_the_day(redis: Redis, quota: int) -> None:
    """But for what is due in their last minutes."""
    begun = begun_by(redis, Account(name="main", per_day=quota), [(5 * MINUTE_MS, quota)] * 288)
    assert len(begun) >= 0.95 * quota - 1


def test_a_clock_that_goes_back_stops_a_rate_for_one_bucket_at_most(redis: Redis) -> None:
    rate = Rate(10, timedelta(seconds=1), burst=5)  # a bucket is whole again after half a second
    admitted = drive(redis, [rate], [(0, 9), (-3_600_000, 9), (500, 9)])
    assert [taken for _, taken, _ in admitted] == [5, 0, 5]


def test_a_new_rate_stops_at_most_for_one_bucket_of_its_own(redis: Redis) -> None:
    one = redis.register_script(BEFORE + DRIVE)
    redis.flushall()
    for rate, at, expected in (
        (Rate(1, timedelta(days=300)), START, 1),
        (Rate(10, timedelta(seconds=1), burst=5), START + 1, 0),
        (Rate(10, timedelta(seconds=1), burst=5), START + 501, 5),
    ):
        redis.hset(KEYS[0], "x", Limit("x", (rate,)).to_json().decode())
        ((taken, _),) = one(keys=KEYS, args=["x", at, 9, "urgent"])
        assert taken == expected


def test_buckets_that_are_whole_again_are_forgotten(redis: Redis) -> None:
    redis.flushall()
    redis.hset(KEYS[0], "customer:*", Limit("customer:*", (Rate(1, timedelta(seconds=1)),)).to_json().decode())
    one = redis.register_script(BEFORE + DRIVE)
    for customer in range(400):
        one(keys=KEYS, args=[f"customer:{customer}", START + customer * 2000, 1, ""])
    left = redis.eval("return redis.call('HLEN', KEYS[1])", 1, KEYS[1])
    assert isinstance(left, int)
    assert left < 20
