"""When a batch will be gone: from the budgets alone, against a slow oracle that counts second by second."""

import math
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from ops.limits.budget import BucketBudget, LimitBudget, WindowBudget, read_budget
from ops.mail.eta import time_to_send
from producers.limits.limit import Rate, Window

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def budget(count: int, per: timedelta = MINUTE, *, tokens: float = 0, **options: object) -> LimitBudget:
    return LimitBudget(rates=[BucketBudget(rate=Rate(count, per), tokens=tokens)], **options)  # type: ignore[arg-type]


def test_five_thousand_mails_at_thirty_a_minute_take_two_hours_and_three_quarters() -> None:
    assert time_to_send(5000, [budget(30)]) == timedelta(seconds=10_000)


def test_what_is_left_of_the_budget_goes_at_once() -> None:
    assert time_to_send(30, [budget(30, tokens=30)]) == timedelta(0)
    assert time_to_send(31, [budget(60, tokens=30)]) == timedelta(seconds=1)


def test_two_accounts_share_the_work() -> None:
    assert time_to_send(120, [budget(60), budget(60)]) == MINUTE


def test_the_narrowest_rate_decides() -> None:
    both = LimitBudget(
        rates=[BucketBudget(rate=Rate(60, MINUTE), tokens=0), BucketBudget(rate=Rate(1440, DAY), tokens=0)]
    )
    assert time_to_send(60, [both]) == timedelta(hours=1)


def test_a_closed_account_is_reckoned_from_when_it_opens_and_a_paused_one_not_at_all() -> None:
    closed = budget(60, tokens=10, opens_in=timedelta(minutes=10))
    assert time_to_send(10, [closed]) == timedelta(minutes=10)
    assert time_to_send(1, [budget(60, opens_in=None)]) is None
    assert time_to_send(60, [budget(60, opens_in=None), budget(60)]) == MINUTE


def test_a_slowed_account_takes_longer() -> None:
    assert time_to_send(30, [budget(60, pace=0.5)]) == MINUTE


@pytest.mark.parametrize("budgets", [[], [LimitBudget()]])
def test_without_a_budget_the_pace_of_the_last_minute_counts_and_without_either_nobody_can_say(
    budgets: list[LimitBudget],
) -> None:
    assert time_to_send(100, budgets, pace_per_minute=50) == 2 * MINUTE
    assert time_to_send(100, budgets) is None


def test_a_window_gives_what_is_left_at_once_and_the_same_again_when_that_is_over() -> None:
    hours = timedelta(hours=1)
    left = WindowBudget(
        rate=Window(500, DAY), started=((10 * hours, 100), (20 * hours, 300)), renewal=24.5 * hours
    )
    account = LimitBudget(rates=[left])
    assert left.tokens == 100
    assert time_to_send(100, [account]) == timedelta(0)
    assert time_to_send(101, [account]) == time_to_send(200, [account]) == 10 * hours
    assert time_to_send(201, [account]) == time_to_send(500, [account]) == 20 * hours
    assert time_to_send(501, [account]) == 24.5 * hours
    assert time_to_send(2000, [account]) == 3.5 * 24 * hours - 0.5 * hours + 10 * hours
    urgent_left = LimitBudget(rates=[left], reserve=0.2)
    assert time_to_send(1, [urgent_left]) == 10 * hours
    assert time_to_send(1, [LimitBudget(rates=[left], pace=0.1)]) == 20 * hours


@pytest.mark.parametrize("rate", [Rate(10, DAY, burst=10), Window(10, DAY)])
@pytest.mark.parametrize(("octets", "tokens"), [(None, 10), (b"garbage", 0), (b"\xff", 0), (b"@[9,1]", 0)])
def test_what_cannot_be_read_counts_as_used_up(rate: Rate | Window, octets: bytes | None, tokens: float) -> None:
    left = read_budget(rate, octets, now_ms=0)
    assert left.tokens == pytest.approx(tokens, abs=1e-3)


def test_nothing_takes_no_time() -> None:
    assert time_to_send(0, []) == timedelta(0)


@given(
    mails=st.integers(1, 300),
    rates=st.lists(
        st.tuples(st.integers(1, 100), st.integers(1, 120), st.integers(0, 50), st.integers(0, 60)),
        min_size=1,
        max_size=3,
    ),
)
def test_the_time_is_the_first_second_at_which_the_budgets_let_all_through(
    mails: int, rates: list[tuple[int, int, int, int]]
) -> None:
    budgets = [
        budget(count, timedelta(seconds=per), tokens=tokens, opens_in=timedelta(seconds=opens))
        for count, per, tokens, opens in rates
    ]
    found = time_to_send(mails, budgets)
    assert found is not None

    def let_through(second: float) -> float:
        return sum(tokens + count * second / per if second >= opens else 0 for count, per, tokens, opens in rates)

    seconds = found.total_seconds()
    assert let_through(seconds) >= mails - 1e-3
    assert seconds == 0 or let_through(seconds - 1) < mails + 1e-3
    assert math.isfinite(seconds)
