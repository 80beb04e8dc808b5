"""Windows: the script itself, on a clock of the test's own, against an oracle that counts all that begin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from redis import Redis

from jobs.mail.account import Account
from ops.limits.budget import read_budget
from producers.limits.limit import Rate, Window
from tests.admission import (
    KEYS,
    NEVER,
    START,
    Admitted,
    Visit,
    admit,
    define,
    drive,
    instants,
    kept,
    look,
    milliseconds,
    never_more,
)
from worker.mail.accounts.setup import limit_of

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
DAY_MS = milliseconds(DAY)

lengths = st.integers(1, 20_000).map(lambda ms: timedelta(milliseconds=ms))
windows = st.builds(Window, count=st.integers(1, 40), per=lengths, parts=st.integers(1, 60))
rates = st.builds(Rate, st.integers(1, 40), lengths, st.integers(1, 9))
visits = st.lists(
    st.tuples(st.integers(0, 900) | st.integers(0, 20_000), st.integers(1, 25)), min_size=1, max_size=60
)

on_the_server = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def redis(valkey_url: str) -> Redis:
    return Redis.from_url(valkey_url)


def step(window: Window) -> int:
    """The length of a part in whole milliseconds."""
    return math.ceil(milliseconds(window.per) / window.parts)


def over(window: Window) -> int:
    """After how long what began counts no more, wherever in its part it began."""
    return milliseconds(window.per) + 2 * step(window)


@on_the_server
@given(window=windows, visits=visits)
@example(window=Window(1, timedelta(milliseconds=7)), visits=[(1, 5)] * 50)
@example(window=Window(7, SECOND, parts=1), visits=[(100, 9)] * 60)
@example(window=Window(10, SECOND, parts=10), visits=[(199, 10), (901, 10), (100, 10)])
@example(window=Window(3, timedelta(milliseconds=1.5), parts=2), visits=[(1, 3)] * 9)
def test_no_window_ever_sees_more_than_its_count(redis: Redis, window: Window, visits: list[Visit]) -> None:
    assert never_more(instants(drive(redis, [window], visits)), window.count, window.per)


@on_the_server
@given(window=windows, visits=visits)
def test_only_who_comes_after_a_whole_count_of_others_must_wait(
    redis: Redis, window: Window, visits: list[Visit]
) -> None:
    admitted = drive(redis, [window], visits)
    for (at, taken, _), (_, asked) in zip(admitted, visits, strict=True):
        if taken < asked:
            begun = [one for one in instants(admitted) if at - over(window) < one <= at]
            assert len(begun) >= window.count


@on_the_server
@given(window=windows, visits=visits)
def test_all_of_the_count_may_begin_at_once_after_a_rest(
    redis: Redis, window: Window, visits: list[Visit]
) -> None:
    *_, (_, taken, _) = drive(redis, [window], [*visits, (over(window), 99)])
    assert taken == window.count
    assert drive(redis, [window], [(0, 99)])[0][1] == window.count


@pytest.mark.parametrize("examples", [8, pytest.param(60, marks=pytest.mark.long)])
def test_who_asks_without_a_pause_gets_95_percent_of_the_count_in_each_window(redis: Redis, examples: int) -> None:
    """Five times in each part at least, and all of the count in the time of a part; after the first windows."""

    @settings(on_the_server, max_examples=examples)
    @given(count=st.integers(1, 400), per=st.integers(100, 100 * DAY_MS), asked=st.integers(1, 400))
    @example(count=500, per=DAY_MS, asked=500)
    @example(count=40, per=100, asked=1)
    def gets_95_percent(count: int, per: int, asked: int) -> None:
        window = Window(count, timedelta(milliseconds=per))
        pause, whole = max(1, step(window) // 5), 22
        asked = max(asked, math.ceil(count * pause / step(window)))
        admitted = drive(redis, [window], [(pause, asked)] * (whole * per // pause))
        assert len(instants(admitted)) >= 0.95 * (whole - 1) * count

    gets_95_percent()


@on_the_server
@given(rates=st.lists(rates | windows, min_size=1, max_size=3), visits=visits)
@example(rates=[Rate.within(10, SECOND), Window(25, timedelta(seconds=9))], visits=[(50, 5)] * 60)
def test_rates_of_both_kinds_are_kept_together(
    redis: Redis, rates: list[Rate | Window], visits: list[Visit]
) -> None:
    begun = instants(drive(redis, rates, visits))
    assert begun
    assert all(never_more(begun, rate.most, rate.per) for rate in rates)


@on_the_server
@given(rates=st.lists(rates | windows, min_size=1, max_size=3), visits=visits)
def test_the_next_one_may_begin_when_it_is_said_and_not_before(
    redis: Redis, rates: list[Rate | Window], visits: list[Visit]
) -> None:
    *_, (at, _, free_at) = drive(redis, rates, visits)
    wait = free_at - at
    if wait > 0:
        assert drive(redis, rates, [*visits, (wait - 1, 1)])[-1][1] == 0
    assert drive(redis, rates, [*visits, (wait, 1)])[-1][1] == 1


@on_the_server
@given(window=windows, visits=visits, reserve=st.floats(0, 0.99), late=st.integers(0, 20_000))
def test_who_is_not_urgent_leaves_the_reserve_and_has_one_at_least(
    redis: Redis, window: Window, visits: list[Visit], reserve: float, late: int
) -> None:
    begun = instants(drive(redis, [window], visits, reserve=reserve, who=""))
    common = max(1, math.floor(window.count * (1 - reserve) + 1e-9))
    assert begun
    assert never_more(begun, common, window.per)
    last = sum(step for step, _ in visits) + START
    urgent = instants(admit(redis, [(late, 99)], start=last))
    assert len(urgent) >= window.count - common
    assert never_more(begun + urgent, window.count, window.per)


@on_the_server
@given(window=windows, visits=visits, pace=st.floats(0.01, 1))
def test_a_window_that_is_slowed_down_gives_its_share(
    redis: Redis, window: Window, visits: list[Visit], pace: float
) -> None:
    redis.flushall()
    define(redis, [window])
    redis.hset(KEYS[0], "slow:x", repr(pace))
    begun = instants(admit(redis, [*visits, (0, 99)]))
    share = max(1, math.floor(window.count * pace))
    assert len(begun) >= share
    assert never_more(begun, share, window.per)
    redis.hdel(KEYS[0], "slow:x")
    begun += instants(admit(redis, [(0, 99)], start=START + sum(step for step, _ in visits)))
    assert never_more(begun, window.count, window.per)


@on_the_server
@given(
    window=windows,
    visits=st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 500) | st.integers(0, 90_000), st.integers(1, 25)),
        min_size=1,
        max_size=40,
    ),
)
@example(window=Window(10, timedelta(seconds=10)), visits=[(0, 0, 10), (0, 9999, 10), (9000, 0, 10), (999, 0, 10)])
def test_a_clock_that_is_put_back_gives_nobody_more(
    redis: Redis, window: Window, visits: list[tuple[int, int, int]]
) -> None:
    """Each visit is so much later, and the clock is put back so much before it."""
    admitted = drive(redis, [window], [(later - back, count) for later, back, count in visits])
    now, truly = 0, list[int]()
    for (later, _, _), (_, taken, _) in zip(visits, admitted, strict=True):
        now += later
        truly += [now] * taken
    assert never_more(truly, window.count, window.per)


def test_what_begins_after_the_clock_was_put_back_is_over_when_its_own_time_is(redis: Redis) -> None:
    window = Window(10, SECOND, parts=10)
    admitted = drive(redis, [window], [(0, 5), (-500, 5), (1099, 9), (1, 9)])
    assert [taken for _, taken, _ in admitted] == [5, 5, 0, 5]
    assert admitted[1][2] == START + 600
    drive(redis, [window], [(0, 5), (-500, 5)], reserve=0.5)
    assert admit(redis, [(0, 1)], who="", start=START - 500) == [(START - 500, 0, START + 1100)]


def test_a_clock_that_was_far_ahead_stops_a_window_for_two_of_its_length_at_most(redis: Redis) -> None:
    window = Window(5, SECOND)
    admitted = drive(redis, [window], [(0, 9), (-365 * DAY_MS, 9), (2 * over(window), 9)])
    assert [taken for _, taken, _ in admitted] == [5, 0, 5]


@dataclass(frozen=True)
class Told:
    """One definition, and what is asked for under it."""

    rates: Sequence[Rate | Window]
    visits: list[Visit]


def follow(redis: Redis, told: Sequence[Told]) -> list[list[int]]:
    """What begins under definitions that follow one another."""
    redis.flushall()
    begun, now = list[list[int]](), START
    for one in told:
        define(redis, one.rates)
        begun.append(instants(admit(redis, one.visits, start=now)))
        now += sum(step for step, _ in one.visits)
    return begun


@on_the_server
@given(
    told=st.lists(
        st.builds(Told, st.lists(windows, min_size=1, max_size=1), visits.map(lambda some: some[:9])),
        min_size=2,
        max_size=6,
    )
)
def test_a_new_window_counts_what_began_before_it_was_defined(redis: Redis, told: list[Told]) -> None:
    """As far back as the windows before it looked: what was over for one of them is known to nobody."""
    looked_back, before = timedelta.max, list[int]()
    for one, begun in zip(told, follow(redis, told), strict=True):
        (window,) = one.rates
        looked_back = min(looked_back, window.per)
        for n, at in enumerate(begun):
            since = at - milliseconds(looked_back)
            assert sum(earlier > since for earlier in before + begun[: n + 1]) <= window.count
        before += begun


@pytest.mark.parametrize("parts", [48, 7])
def test_a_new_window_counts_only_what_is_not_over(redis: Redis, parts: int) -> None:
    old, new = Window(10, DAY), Window(10, timedelta(hours=12), parts)
    told = [Told([old], [(0, 10)]), Told([new], [(DAY_MS // 4, 10)]), Told([new], [(DAY_MS // 3 + 1, 10)])]
    assert [len(begun) for begun in follow(redis, told)] == [10, 0, 10]


def test_a_new_window_stops_at_most_for_one_of_its_own_length(redis: Redis) -> None:
    old, new = Window(10, DAY, parts=1), Window(10, SECOND)
    told = [Told([old], [(0, 10)]), Told([new], [(1, 0)]), Told([new], [(over(new), 10)])]
    assert [len(begun) for begun in follow(redis, told)] == [10, 0, 10]


def test_a_bucket_in_place_of_a_window_begins_empty_at_worst(redis: Redis) -> None:
    rate = Rate(10, SECOND, burst=5)  # whole again after half a second
    told = [Told([Window(500, DAY)], [(0, 9)]), Told([rate], [(1, 9)]), Told([rate], [(501, 9)])]
    assert [len(begun) for begun in follow(redis, told)] == [9, 0, 5]


def test_a_window_in_place_of_a_bucket_counts_what_would_flow_back_meanwhile(redis: Redis) -> None:
    rate = Rate.within(500, DAY, burst_share=0.2)
    told = [Told([rate], [(0, 60)]), Told([Window(500, DAY)], [(0, 500)])]
    first, second = map(len, follow(redis, told))
    assert first == 60
    assert 420 <= second <= 440
    told[1:] = [Told([Window(500, DAY)], [(0, 0)]), Told([Window(500, DAY)], [(DAY_MS // 2, 500)])]
    assert len(follow(redis, told)[2]) == second
    minute = Rate(10, MINUTE, burst=5)
    assert len(follow(redis, [Told([minute], [(0, 9)]), Told([Window(500, DAY)], [(0, 500)])])[1]) >= 499
    assert len(follow(redis, [Told([minute], [(0, 9)]), Told([Window(500, DAY)], [(60_000, 500)])])[1]) == 500


@pytest.mark.parametrize(
    "text",
    [
        *("x", "nan", "@", "9@9", "9@[]", "9@{}", "9@[0]", "@[9,1,1]", "9@[9,1,1", "9@[[9],1,1]", '9@["x",1,1]'),
        *("9@[9,1]", "9@[9,1,null]", "9@[9,2,1,1,1]", "9@[9,1,-1]", "9@[9,1,0.5]", "9@[9,1,1e999]", "9@[9,nan,1]"),
        *("9@[9,1,9e15]", "9@[9,1,1]]", "9@[9,1,1]x"),
    ],
)
def test_a_window_whose_text_cannot_be_read_gives_nothing(redis: Redis, text: str) -> None:
    redis.flushall()
    define(redis, [Window(5, SECOND)])
    redis.hset(KEYS[1], "x#1", text)
    assert admit(redis, [(0, 9), (DAY_MS, 9)]) == [(START, 0, NEVER), (START + DAY_MS, 0, NEVER)]
    assert kept(redis) == {"x#1": text.encode()}


@pytest.mark.parametrize(
    "definition", ['"count":0', '"count":"x"', '"count":5,"per_ms":0', '"parts":0', '"parts":null']
)
def test_a_window_that_cannot_be_gives_nothing(redis: Redis, definition: str) -> None:
    redis.flushall()
    redis.hset(KEYS[0], "x", f'{{"rates":[{{"count":5,"per_ms":1000,"parts":48,{definition}}}]}}')
    assert admit(redis, [(0, 9)]) == [(START, 0, NEVER)]


@on_the_server
@given(window=windows, visits=visits, back=st.integers(-40_000, 40_000), other=windows)
def test_who_only_looks_sees_the_room_and_changes_nothing(
    redis: Redis, window: Window, visits: list[Visit], back: int, other: Window
) -> None:
    now = drive(redis, [window], visits)[-1][0] + back
    for one in (window, other):
        define(redis, [one])
        before, room = kept(redis), look(redis, now)
        assert kept(redis) == before
        assert room == len(instants(admit(redis, [(0, 99)], start=now)))


def test_windows_that_are_empty_are_forgotten_and_others_are_not(redis: Redis) -> None:
    redis.flushall()
    define(redis, [Window(1, SECOND)], key="customer:*")
    define(redis, [Window(1, 15 * MINUTE)], key="account:*")
    for number in range(400):  # for thirteen minutes
        admit(redis, [(number * 2000, 1)], key=f"customer:{number}")
        if number % 40 == 0:
            admit(redis, [(number * 2000, 1)], key=f"account:{number}")
    assert {f"account:{number}#1" for number in range(0, 400, 40)} <= kept(redis).keys()
    assert len(kept(redis)) < 60


def test_what_is_kept_of_a_day_is_short_however_many_begin(redis: Redis) -> None:
    drive(redis, [Window(10**9, DAY)], [(MINUTE // timedelta(milliseconds=1), 30)] * 3000)
    text = kept(redis)["x#1"]
    assert text.count(b",") == 2 * 49
    assert len(text) < 600


@on_the_server
@given(count=st.integers(1, 40), length=st.integers(2, 400), visits=visits, reserve=st.sampled_from([0, 0.2, 0.9]))
def test_what_is_told_of_the_time_to_come_is_right_to_two_parts(
    redis: Redis, count: int, length: int, visits: list[Visit], reserve: float
) -> None:
    window, part = Window(count, length * timedelta(milliseconds=12), parts=12), timedelta(milliseconds=length)
    drive(redis, [window], visits)
    now = START + sum(step for step, _ in visits)
    left = read_budget(window, kept(redis).get("x#1"), now)
    define(redis, [window], reserve=reserve)
    begun = instants(admit(redis, [(0, 99), *[(length, 99)] * 60], who="", start=now))
    for parts in range(50):
        sure = sum(at <= now + (parts - 2) * length for at in begun)
        possible = sum(at <= now + (parts + 2) * length for at in begun)
        assert sure <= left.capacity_within(parts * part, reserve=reserve) <= possible


# Of a mail account

quotas = st.integers(1, 12_000)


def admitted_by(redis: Redis, account: Account, visits: Sequence[Visit], *, who: str = "urgent") -> list[Admitted]:
    limit = limit_of(account)
    return drive(redis, limit.rates, visits, reserve=limit.reserve, who=who)


@on_the_server
@given(
    quota=quotas,
    visits=st.lists(st.tuples(st.integers(0, DAY_MS // 4), st.integers(1, 6000)), min_size=1, max_size=60),
)
@example(quota=500, visits=[(60_000, 500)] * 3000)
@example(quota=500, visits=[(0, 500), (DAY_MS - 1, 500), (1, 500)])
def test_no_24_hours_ever_see_more_mails_than_the_account_s_day(
    redis: Redis, quota: int, visits: list[Visit]
) -> None:
    begun = instants(admitted_by(redis, Account(name="main", per_day=quota), visits))
    assert never_more(begun, quota, DAY)


@pytest.mark.parametrize(("who", "share"), [("urgent", 1.0), ("", 0.8)])
def test_all_of_the_account_s_day_may_go_at_once_but_for_the_urgent_share(
    redis: Redis, who: str, share: float
) -> None:
    ((_, taken, _),) = admitted_by(redis, Account(name="main", per_day=500), [(0, 999)], who=who)
    assert taken == 500 * share


@pytest.mark.parametrize(("who", "share"), [("urgent", 1.0), ("", 0.8)])
def test_who_sends_without_a_pause_gets_98_percent_of_the_account_s_days(
    redis: Redis, who: str, share: float
) -> None:
    """A backlog that is looked at every five minutes, for fifty days."""
    account = Account(name="main", per_day=500, per_minute=30)
    begun = instants(admitted_by(redis, account, [(300_000, 500)] * (50 * 288), who=who))
    assert len(begun) >= 0.975 * 50 * 500 * share
