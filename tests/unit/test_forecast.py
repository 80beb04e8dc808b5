"""Forecasts of a lane: by its pace, its limits and holds; and beside recorded drains, what really happened.

The recordings in `recorded_drains/` were made by `./run bench forecast --write` with real workers and a real
server; each file says when and what happened. They are played as they are.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from bench.drains.recording import RecordedDrain
from ops.depth.drain_facts import DUE_WITHIN_S, DrainFacts, LimitFacts
from ops.depth.flow import (
    FlowInterval,
    FlowNote,
    arriving_rate,
    idle_seconds,
    leaving_rate,
    read_intervals,
    read_notes,
    usual_rate,
)
from ops.depth.forecast import Drain, DrainState, forecast_drain
from ops.depth.read import drains_at
from ops.depth.texts import drain_text
from ops.limits.budget import BucketBudget, LimitBudget
from producers.limits import Rate

RATES = st.floats(min_value=0, max_value=1e6)
COUNTS = st.integers(min_value=0, max_value=10**7)
HOUR = timedelta(hours=1)
RECORDINGS = Path(__file__).parent / "recorded_drains"
WITHIN = 0.2
"""The part of the real remaining time by which a forecast may be wrong."""


# Recorded drains


def recorded(name: str) -> RecordedDrain:
    return RecordedDrain.read(RECORDINGS / f"{name}.json")


def looks_at(drain: RecordedDrain, began_ms: int, *parts: float) -> list[tuple[int, Drain]]:
    """The forecasts at these parts of the time from an instant until no job waited."""
    assert drain.done_ms is not None
    found = [drain.facts_at(began_ms + part * (drain.done_ms - began_ms)) for part in parts]
    return [(at, forecast_drain(facts)) for at, facts in found]


def assert_right(real_ms: int | None, at_ms: int, seconds: float | None) -> None:
    assert real_ms is not None
    assert seconds is not None
    assert seconds == pytest.approx((real_ms - at_ms) / 1000, rel=WITHIN)


@pytest.mark.parametrize(
    ("name", "constraint", "limit"),
    [
        ("even", "workers", None),
        ("rate", "limit", "account:bench"),
        ("places", "limit", "customer:42"),
        ("arrivals", "workers", None),
    ],
)
def test_a_recorded_drain_is_foreseen_from_a_tenth_of_its_way(
    name: str, constraint: str, limit: str | None
) -> None:
    drain = recorded(name)
    for at, found in looks_at(drain, drain.began_ms, 0.1, 0.25, 0.5, 0.75):
        assert (found.state, found.constraint, found.limit) == ("in", constraint, limit)
        assert_right(drain.done_ms, at, found.seconds)


def test_a_recorded_drain_with_retries_is_foreseen_to_the_end_of_the_last_of_them() -> None:
    drain = recorded("retries")
    for at, found in looks_at(drain, drain.began_ms, 0.1, 0.25, 0.5, 0.75):
        assert found.state == "in"
        assert_right(drain.ended_ms, at, found.ends_s)


def test_after_the_end_of_a_worker_the_rest_of_a_recorded_drain_is_foreseen_by_the_pace_of_the_others() -> None:
    drain = recorded("killed")
    assert drain.killed_ms is not None
    for at, found in looks_at(drain, drain.killed_ms, 0.25, 0.5, 0.75):
        assert (found.state, found.constraint) == ("in", "workers")
        assert_right(drain.done_ms, at, found.seconds)


def test_a_recorded_lane_whose_jobs_hang_is_stuck_and_nothing_else() -> None:
    drain = recorded("stuck")
    assert drain.done_ms is None
    forecasts = {at: forecast_drain(facts) for at, facts in drain.looks.items()}
    last = max(at for at, facts in drain.looks.items() if facts.notes[-1].left < 600)
    after = {at - last: found.state for at, found in forecasts.items()}
    assert {state for ms, state in after.items() if ms > 70_000} == {"stuck"}
    assert {state for ms, state in after.items() if 16_000 < ms < 55_000} == {"unknown"}
    assert {state for ms, state in after.items() if -20_000 < ms <= 0} == {"in"}


def test_a_recorded_lane_grows_while_more_arrives_and_then_drains_in_the_time_that_is_told() -> None:
    drain = recorded("growing")
    stopped = drain.began_ms + 80_000
    forecasts = {at: forecast_drain(facts) for at, facts in drain.looks.items()}
    growing = [found for at, found in forecasts.items() if drain.began_ms + 15_000 < at < stopped]
    assert {found.state for found in growing} == {"growing"}
    assert all(400 <= found.growth <= 800 for found in growing), "30 a second arrive, and about 20 leave"
    for at, found in looks_at(drain, stopped, 0.25, 0.5, 0.75):
        assert found.state == "in"
        assert_right(drain.done_ms, at, found.seconds)


def test_the_recordings_are_those_that_are_played() -> None:
    names = {"arrivals", "even", "growing", "killed", "places", "rate", "retries", "stuck"}
    assert {file.stem for file in RECORDINGS.glob("*.json")} == names
    assert all(recorded(name).made.startswith("by bench/forecast.py") for name in names)


# By the counts of the last minute, where no worker notes the flow


@pytest.mark.parametrize(
    ("ready", "entering", "leaving", "slots", "words"),
    [
        (0, 0, 0, 0, "empty"),
        (0, 50, 0, 10, "empty"),
        (5, 0, 0, 0, "no worker"),
        (5, 0, 600, 0, "no worker"),  # whoever did that pace is gone
        (100, 20, 120, 10, "in 1 min"),
        (7200, 0, 60, 1, "in 2 h"),
        (100, 160, 120, 10, "never: growing by 40/min; 50 s once arrivals stop"),
        (100, 60.2, 60, 10, "never: as many arrive as leave"),
        (100, 0, 0, 10, "unknown: nothing has finished lately"),
    ],
)
def test_the_forecast_says_what_the_pace_means(
    ready: int, entering: float, leaving: float, slots: int, words: str
) -> None:
    facts = DrainFacts(ready=ready, in_per_minute=entering, out_per_minute=leaving, slots=slots)
    assert drain_text(forecast_drain(facts)) == words


@given(ready=COUNTS.filter(bool), entering=RATES, leaving=RATES)
def test_without_a_worker_waiting_jobs_never_read_as_a_short_wait(
    ready: int, entering: float, leaving: float
) -> None:
    drain = forecast_drain(DrainFacts(ready=ready, in_per_minute=entering, out_per_minute=leaving))
    assert drain == Drain(state="no_worker", constraint="workers")


@given(ready=COUNTS.filter(bool), entering=RATES, leaving=RATES, slots=st.integers(1, 1000))
def test_only_a_lane_that_shrinks_has_an_end_and_it_is_never_now(
    ready: int, entering: float, leaving: float, slots: int
) -> None:
    facts = DrainFacts(ready=ready, in_per_minute=entering, out_per_minute=leaving, slots=slots)
    drain = forecast_drain(facts)
    assert drain.state != "empty"
    assert drain.state != "in" or leaving > entering
    assert drain.seconds is None or drain.seconds > 0
    assert drain_text(drain, "es")


# By the flow that workers note


def notes(*intervals: tuple[int, int], size: int, every_s: int = 5) -> tuple[FlowNote, ...]:
    """Notes of jobs that left and entered in each interval; `size` jobs are there at the end, and all wait."""
    left, at_ms = sum(one for one, _ in intervals), len(intervals) * every_s * 1000
    found = [FlowNote(at_ms, left, size, size)]
    for leaving, entering in reversed(intervals):
        left, size, at_ms = left - leaving, size + leaving - entering, at_ms - every_s * 1000
        found.insert(0, FlowNote(at_ms, left, size, size))
    return tuple(found)


def forecast(flow: Sequence[FlowNote], **facts: Any) -> Drain:
    return forecast_drain(DrainFacts(**{"ready": flow[-1].waiting, "slots": 10, "notes": flow, **facts}))


def test_in_its_first_seconds_a_batch_is_no_growth() -> None:
    drain = forecast(notes((0, 1000), (100, 0), (100, 0), size=800))
    assert drain.state == "in"
    assert drain.seconds == pytest.approx(40)


def test_a_pace_that_changed_counts_from_the_change() -> None:
    flow = notes(*[(100, 0)] * 6, *[(25, 0)] * 3, size=250)
    assert forecast(flow).seconds == pytest.approx(50)


def test_the_pace_of_a_lane_that_had_little_to_do_is_not_that_of_its_workers() -> None:
    idle = [FlowNote(5000 * number, 5 * number, 0, 0) for number in range(12)]
    batch = [FlowNote(60_000 + 5000 * number, 55 + 100 * number, 500 - 100 * number, 400) for number in range(2)]
    rate = leaving_rate(read_intervals([*idle, *batch]), running=10)
    assert rate is not None
    assert rate.per_second == pytest.approx(20)


def test_jobs_that_all_end_at_once_are_no_change_of_the_pace() -> None:
    rate = leaving_rate(read_intervals(notes(*[(20, 0), (0, 0), (0, 0)] * 4, size=500)), running=20)
    assert rate is not None
    assert rate.per_second == pytest.approx(20 / 15)


def test_a_difference_that_may_be_chance_is_no_end() -> None:
    assert forecast(notes(*[(100, 98)] * 12, size=500)).state == "level"
    assert forecast(notes(*[(100, 90)] * 12, size=500)).state == "in"
    assert forecast(notes(*[(98, 100)] * 12, size=500)).state == "level"


def test_arrivals_that_go_on_count_and_those_that_stopped_do_not() -> None:
    going = forecast(notes(*[(100, 50)] * 6, size=500))
    assert going.state == "in"
    assert going.seconds == pytest.approx(50)
    over = forecast(notes(*[(100, 50)] * 6, *[(100, 0)] * 2, size=500))
    assert over.seconds == pytest.approx(25)


def test_a_burst_among_steady_arrivals_is_not_expected_again() -> None:
    rate = arriving_rate(read_intervals(notes((50, 2000), *[(50, 10)] * 11, size=1000)))
    assert rate.per_second == pytest.approx(2)


def test_batches_that_come_again_and_again_are_arrivals() -> None:
    rate = arriving_rate(read_intervals(notes(*[(50, 300), (50, 0), (50, 0)] * 4, size=1000)))
    assert rate.per_second == pytest.approx(20)


def test_a_lane_in_which_nothing_finishes_is_unknown_at_first_and_stuck_after_a_minute() -> None:
    brief = forecast(notes(*[(100, 0)] * 3, *[(0, 0)] * 6, size=100), leased=10)
    assert (brief.state, brief.idle_s) == ("unknown", 30)
    stuck = forecast(notes(*[(100, 0)] * 3, *[(0, 0)] * 12, size=100), leased=10)
    assert (stuck.state, stuck.idle_s) == ("stuck", 60)
    assert drain_text(stuck) == "stuck: nothing has finished for 1 min"


def test_a_lane_in_which_no_job_was_seen_to_finish_is_stuck_after_two_minutes_and_stays_so() -> None:
    states = [forecast(notes(*[(0, 0)] * idle, size=100), leased=10).state for idle in (3, 23, 24, 60)]
    assert states == ["unknown", "unknown", "stuck", "stuck"]


def test_jobs_that_usually_take_minutes_are_not_stuck_after_one() -> None:
    """Ten at once, and one ends in 20 s: each takes 200 s."""
    flow = notes(*[(1, 0), (0, 0), (0, 0), (0, 0)] * 6, *[(0, 0)] * 12, size=100)
    assert forecast(flow, leased=10).state != "stuck"


def test_a_worker_that_noted_nothing_while_the_clock_was_set_back_gives_no_flow() -> None:
    backwards = [FlowNote(5000, 1, 9, 9), FlowNote(1000, 2, 8, 8), FlowNote(4000, 5, 5, 5)]
    assert read_intervals(backwards) == (FlowInterval(seconds=3.0, left=3, entered=0, is_busy=True),)


def test_notes_that_cannot_be_read_are_left_out() -> None:
    stored = [b"", b"1 2 3", b"a b c d", b"1 2 3 4 5", b"-1 2 3 4", b"7 6 5 4"]
    assert read_notes(stored) == (FlowNote(7, 6, 5, 4),)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=60), st.integers(0, 1000))
def test_no_flow_gives_a_pace_that_was_not_there(flow: list[tuple[int, int]], running: int) -> None:
    found = read_intervals(notes(*flow, size=10**6))
    leaving, arriving = leaving_rate(found, running=running), arriving_rate(found)
    paces = [left / 5 for left, _ in flow]
    assert leaving is None or min(paces) - 1e-9 <= leaving.per_second <= max(paces) + 1e-9
    assert 0 <= arriving.per_second <= max([entered / 5 for _, entered in flow], default=0) + 1e-9
    assert 0 <= idle_seconds(found) <= 5 * len(flow)
    assert usual_rate(found) >= 0


# Limits, holds and delayed jobs


def bucket(per_minute: int, *, tokens: float = 0, **budget: Any) -> LimitBudget:
    rate = Rate(per_minute, timedelta(minutes=1), burst=max(1, round(tokens)))
    return LimitBudget(rates=[BucketBudget(rate=rate, tokens=tokens)], **budget)


def limit(key: str = "account:main", **facts: Any) -> LimitFacts:
    return LimitFacts(**{"key": key, "budget": bucket(60), **facts})


def test_a_limit_that_is_used_up_tells_the_time() -> None:
    drain = forecast(notes(*[(5, 0)] * 6, size=600), needed=[limit(is_used_up=True)])
    assert (drain.state, drain.seconds, drain.constraint, drain.limit) == ("in", 600, "limit", "account:main")
    assert drain_text(drain) == "in 10 min (limit account:main)"


def test_a_full_bucket_that_goes_fast_does_not_promise_that_pace_for_the_rest() -> None:
    drain = forecast(notes((0, 700), (100, 0), size=600), needed=[limit(budget=bucket(60, tokens=60))])
    assert (drain.seconds, drain.limit) == (540, "account:main")


def test_a_limit_that_has_room_for_all_leaves_the_workers_to_decide() -> None:
    drain = forecast(notes((0, 200), *[(50, 0)] * 2, size=100), needed=[limit(budget=bucket(6000, tokens=500))])
    assert drain.seconds == pytest.approx(10)
    assert (drain.constraint, drain.limit) == ("workers", None)


def test_more_urgent_lanes_use_a_limit_first() -> None:
    drain = forecast(notes(*[(5, 0)] * 6, size=60), needed=[limit(is_used_up=True)], ahead=120)
    assert drain.seconds == 180


def test_a_lane_grows_when_more_arrives_than_its_limit_lets_begin() -> None:
    drain = forecast(notes(*[(5, 15)] * 8, size=600), needed=[limit(is_used_up=True)])
    assert (drain.state, drain.growth, drain.constraint) == ("growing", 120, "limit")


def test_places_of_a_limit_that_are_all_in_use_are_what_the_lane_waits_for() -> None:
    places = limit(budget=LimitBudget(), places=4, running=4, is_used_up=True)
    drain = forecast(notes(*[(50, 0)] * 6, size=100), needed=[places])
    assert drain.seconds == pytest.approx(10)
    assert (drain.constraint, drain.limit) == ("limit", "account:main")


def test_places_that_are_all_in_use_count_although_the_rate_of_the_limit_has_room() -> None:
    both = limit(budget=bucket(6000, tokens=5000), places=4, running=4, is_used_up=True)
    drain = forecast(notes(*[(50, 0)] * 6, size=100), needed=[both])
    assert drain.seconds == pytest.approx(10)
    assert drain.limit == "account:main"


def test_of_limits_that_jobs_name_the_last_one_to_be_done_decides() -> None:
    flow = notes(*[(50, 0)] * 6, size=300)
    named = [limit("customer:1", blocked=200), limit("customer:2", blocked=100)]
    drain = forecast(flow, ready=0, held_back=300, delayed=300, named=named)
    assert (drain.seconds, drain.limit) == (200, "customer:1")


def test_jobs_that_wait_for_a_slow_limit_of_their_own_are_not_stuck() -> None:
    flow = notes(*[(0, 0)] * 25, size=24)
    facts = {"ready": 0, "held_back": 24, "delayed": 24, "named": [limit(budget=bucket(1), blocked=24)]}
    drain = forecast(flow, **facts)
    assert (drain.state, drain.seconds, drain.limit) == ("in", 24 * 60, "account:main")
    assert forecast(flow, **{**facts, "ready": 10, "leased": 10}).state == "stuck"


def test_a_limit_of_some_jobs_that_is_held_until_released_is_the_reason() -> None:
    named = [limit("customer:1", blocked=20, budget=bucket(60, opens_in=None))]
    drain = forecast(notes(*[(50, 0)] * 6, size=30), held_back=20, named=named)
    assert (drain.state, drain.limit) == ("held", "customer:1")
    assert drain_text(drain) == "not while limit customer:1 is held"


@pytest.mark.parametrize(
    ("opens", "until_s", "words"),
    [(None, None, "not while limit account:main is held"), (HOUR, 3600, ", for 1 h")],
)
def test_a_lane_whose_limits_are_all_held_waits_for_the_first_to_open(
    opens: timedelta | None, until_s: float | None, words: str
) -> None:
    held = [limit(budget=bucket(60, opens_in=opens)), limit("account:other", budget=bucket(60, opens_in=None))]
    drain = forecast(notes((0, 0), size=60), needed=held)
    assert (drain.state, drain.constraint, drain.until_s) == ("held", "hold", until_s)
    assert drain_text(drain).endswith(words)


def test_one_limit_that_is_not_held_is_enough() -> None:
    held = limit(budget=bucket(60, opens_in=None), is_used_up=True)
    other = limit("account:other", is_used_up=True)
    assert forecast(notes(*[(5, 0)] * 4, size=60), needed=[held, other]).seconds == 60


def test_a_held_lane_is_done_after_its_hold_at_its_usual_pace() -> None:
    flow = notes(*[(50, 0)] * 6, *[(0, 0)] * 12, size=300)
    drain = forecast(flow, is_held=True, held_s=600.0)
    assert (drain.state, drain.until_s) == ("held", 600)
    assert drain.seconds == pytest.approx(630)
    assert drain_text(drain) == "not while held, for 10 min"
    assert forecast(flow, is_held=True) == Drain(state="held", constraint="hold")


def test_delayed_jobs_alone_are_no_work_yet() -> None:
    drain = forecast_drain(DrainFacts(ready=0, delayed=3, last_due_s=7200.0, slots=10))
    assert (drain.state, drain.seconds, drain.ends_s) == ("delayed", 0, 7200)
    assert drain_text(drain) == "nothing is due; the last delayed job is in 2 h"
    assert forecast_drain(DrainFacts(ready=0, delayed=3, parked=3, slots=10)).state == "empty"


def test_delayed_jobs_that_come_due_meanwhile_are_work_and_the_others_are_told() -> None:
    due = [(float(seconds), min(1000, 10 * seconds)) for seconds in DUE_WITHIN_S]
    facts = {"delayed": 1000, "due_within": due, "last_due_s": 3600.0}
    drain = forecast(notes(*[(100, 0)] * 6, size=300), **facts)
    assert drain.seconds == pytest.approx(30, rel=0.05), "20 a second leave, 10 become due"
    assert (drain.ends_s, drain.constraint) == (3600, "delayed")
    assert drain_text(drain).endswith("; the last delayed job in 1 h")


def test_jobs_that_are_tried_again_end_after_the_others_by_their_delay() -> None:
    due = [(float(seconds), min(50, seconds)) for seconds in DUE_WITHIN_S]
    retrying = {"delayed": 60, "retrying": 50, "due_within": due, "last_due_s": 90_000.0, "parked": 10}
    drain = forecast(notes(*[(100, 0)] * 6, size=400), **retrying)
    assert drain.seconds == pytest.approx(20)
    assert drain.ends_s == pytest.approx((60 + 80) / 2), "fifty come due within a minute, as far as it is counted"


# Words


def test_each_forecast_has_words_in_both_languages_and_one_end() -> None:
    for state in get_args(DrainState):
        drain = Drain(state=state, seconds=60, ends_s=90, idle_s=30, until_s=10, growth=1)
        assert drain_text(drain, "en") != drain_text(drain, "es") or state == "no_worker"
        assert "{" not in drain_text(drain, "en") + drain_text(drain, "es")


def test_a_lane_drains_at_a_moment_only_if_it_drains_within_the_calendar() -> None:
    now = datetime(2026, 6, 10, 15, 0, tzinfo=UTC)
    assert drains_at(Drain(state="in", seconds=90), now) == now + timedelta(seconds=90)
    assert drains_at(Drain(state="in", seconds=1e15), now) is None
    assert drains_at(Drain(state="growing", seconds=90, growth=1), now) is None
