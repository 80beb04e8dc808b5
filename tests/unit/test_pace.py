"""When a board is refreshed and what counts as proved: the decisions of the prober, over values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from reports import load_reports
from reports.boards import Board
from reports.pace import (
    AHEAD,
    MAX_UNVERIFIED,
    Decision,
    KnownSet,
    MarkTimes,
    Probe,
    debt_after,
    decide_refresh,
    only_ended,
    refresh_interval,
    stretch_of,
)

SECOND = timedelta(seconds=1)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
KEY = "default:sales"
REPORT = replace(
    load_reports()["management"],
    name="sales",
    board="sales",
    sources=("shop.orders",),
    every=timedelta(minutes=1),
    debounce=SECOND,
    max_wait=4 * SECOND,
    max_db_share=0.01,
)
BOARD = Board("sales", (REPORT,))
STORED = KnownSet(
    generation=3, as_of=NOW - 60 * SECOND, verified=NOW - SECOND, visible="7:7:", xid=7, catalogue="c"
)
SAME = {"sales": "c"}
QUIET = Probe(NOW, "8:8:", {}, {KEY: STORED.as_of}, SAME)


def decided(
    known: KnownSet = STORED, seen: Probe = QUIET, *, watched: bool = True, wanted: bool = False
) -> Decision:
    return decide_refresh(BOARD, {"sales": known}, seen, KEY, watched=watched, wanted=wanted)


def marked(first: timedelta, last: timedelta) -> Probe:
    return replace(QUIET, marks={KEY: MarkTimes(NOW - first, NOW - last)})


def test_a_board_without_marks_is_proved_and_rests_while_nothing_happens() -> None:
    decision = decided()
    assert decision.proved == ("sales",)
    assert decision.due == STORED.verified + REPORT.every


def test_what_was_never_computed_is_due_at_once() -> None:
    decision = decided(KnownSet(stored=False, as_of=NOW, verified=NOW))
    assert (decision.due, decision.why, decision.proved) == (NOW, "cold", ())


@pytest.mark.parametrize(
    ("first", "last", "due"),
    [
        (timedelta(0), timedelta(0), SECOND),
        (3 * SECOND, timedelta(0), SECOND),
        (3.5 * SECOND, timedelta(0), SECOND / 2),
        (9 * SECOND, timedelta(0), -5 * SECOND),
    ],
)
def test_changes_are_collected_for_the_debounce_and_never_longer_than_max_wait(
    first: timedelta, last: timedelta, due: timedelta
) -> None:
    decision = decided(seen=marked(first, last))
    assert (decision.due - NOW, decision.why, decision.proved) == (due, "changed", ())


def test_the_budget_makes_changes_wait() -> None:
    cost = timedelta(milliseconds=50)
    dear = replace(STORED, as_of=NOW - SECOND, cost=cost, debt=AHEAD * REPORT.max_db_share)
    seen = replace(marked(2 * SECOND, 2 * SECOND), taken={KEY: dear.as_of})
    assert decided(dear, seen).due == dear.as_of + 5 * SECOND
    rested = replace(dear, debt=cost)
    assert decided(rested, seen).due < NOW


@given(st.lists(st.floats(0, 2000), min_size=20, max_size=60))
def test_under_any_lasting_change_the_database_time_used_keeps_to_the_budget(costs_ms: list[float]) -> None:
    known, began, used = replace(STORED, as_of=NOW, debt=timedelta(0)), NOW, timedelta(0)
    for cost in (timedelta(milliseconds=one) for one in costs_ms):
        seen = Probe(
            known.as_of, "8:8:", {KEY: MarkTimes(NOW - 99 * SECOND, NOW - 99 * SECOND)}, {KEY: known.as_of}
        )
        due = max(decided(replace(known, cost=cost), seen).due, known.as_of)
        rested = due - known.as_of
        debt = debt_after(known.debt, rested=rested, share=REPORT.max_db_share, cost=cost)
        known, used = replace(known, as_of=due, debt=debt), used + cost
        allowed = (due - began + AHEAD) * REPORT.max_db_share
        assert used <= max(allowed, cost) + timedelta(milliseconds=1)


def test_nothing_is_proved_past_the_instant_at_which_time_changes_the_numbers() -> None:
    until = NOW + 5 * SECOND
    known = replace(STORED, valid_until=until)
    assert (decided(known).due, decided(known).proved) == (until, ("sales",))
    over = decided(known, replace(QUIET, at=until))
    assert (over.due, over.why, over.proved) == (until, "time", ())


def test_a_set_older_than_what_was_taken_up_is_not_proved() -> None:
    decision = decided(seen=replace(QUIET, taken={KEY: STORED.as_of + SECOND}))
    assert (decision.why, decision.proved) == ("taken_up", ())
    assert decided(seen=replace(QUIET, taken={})).proved == ()


def test_what_left_no_mark_is_computed_anew_after_a_quarter_of_an_hour() -> None:
    idle = replace(STORED, as_of=NOW - timedelta(hours=9))
    calm = replace(QUIET, taken={KEY: idle.as_of})
    assert decided(idle, calm).why == "clock"
    busy = decided(idle, replace(calm, visible="9:9:"))
    assert (busy.due, busy.why) == (idle.as_of + MAX_UNVERIFIED, "unverified")


def test_without_triggers_any_write_of_the_server_counts_as_a_change() -> None:
    assert decided(seen=replace(QUIET, visible="7:7:"), watched=False).proved == ("sales",)
    changed = decided(watched=False)
    assert (changed.due, changed.why, changed.proved) == (NOW, "changed", ())


def test_a_failing_report_rests_and_is_still_proved_by_what_the_database_says() -> None:
    decision = decided(replace(STORED, again=NOW + 8 * SECOND))
    assert (decision.due, decision.why, decision.proved) == (NOW + 8 * SECOND, "failed", ("sales",))


def test_a_wish_is_heard_where_nothing_is_proved() -> None:
    gone_by = replace(marked(timedelta(0), timedelta(0)), at=NOW)
    assert decided(seen=gone_by, wanted=True).due == NOW
    assert decided(wanted=True).due > NOW


def test_a_board_is_as_impatient_as_its_most_impatient_report_and_may_use_what_all_of_them_may() -> None:
    slow = replace(REPORT, name="slow", debounce=9 * SECOND, max_wait=9 * SECOND, max_db_share=0.02)
    board = Board("both", (REPORT, slow))
    assert (board.debounce, board.max_wait) == (SECOND, 4 * SECOND)
    known = {"sales": replace(STORED, cost=60 * SECOND / 1000), "slow": replace(STORED, cost=30 * SECOND / 1000)}
    assert refresh_interval(board, known) == timedelta(seconds=3)


def test_boards_that_would_use_more_than_their_tenant_may_are_all_slowed_down() -> None:
    known = {"sales": {"sales": replace(STORED, cost=timedelta(milliseconds=50))}}
    assert stretch_of({"sales": BOARD}, known, share=0.05) == 1
    assert stretch_of({"sales": BOARD}, known, share=0.005) == pytest.approx(2)


def test_a_board_without_sources_of_all_its_reports_is_not_watched() -> None:
    assert Board("both", (REPORT, replace(REPORT, name="other", sources=()))).sources == ()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.booleans(), min_size=12, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_whether_only_one_transaction_has_ended_is_seen_from_two_snapshots(
    earlier: list[bool], since: list[bool]
) -> None:
    ended = {xid for xid, over in enumerate(earlier) if over}
    later = ended | {xid for xid, over in enumerate(since) if over}
    for xid in range(12):
        assert only_ended(snapshot_of(ended), snapshot_of(later), xid) == (later - ended <= {xid})


def snapshot_of(ended: set[int]) -> str:
    """As Postgres writes it: transactions 0 to 11 have begun."""
    xmax = max(ended, default=-1) + 1
    running = [xid for xid in range(xmax) if xid not in ended]
    return f"{min(running, default=xmax)}:{xmax}:{','.join(map(str, running))}"


# After a rest: a change is collected as at any other time, and our own refreshes wake nobody

CALM_REPORT = replace(REPORT, every=timedelta(days=1), debounce=2 * SECOND, max_wait=5 * SECOND)
CALM_BOARD = Board("sales", (CALM_REPORT,))
RESTED = replace(STORED, as_of=NOW - timedelta(hours=9))
CALM = Probe(NOW, "8:8:", {}, {KEY: RESTED.as_of}, SAME)


@given(st.floats(0, 9), st.floats(0, 9), st.integers(8, 20), st.integers(0, 100_000))
def test_a_change_after_any_rest_is_collected_for_the_debounce_and_never_longer_than_max_wait(
    first: float, since: float, transactions: int, rested: int
) -> None:
    marks = MarkTimes(NOW - max(first, since) * SECOND, NOW - min(first, since) * SECOND)
    known = replace(RESTED, as_of=marks.first - rested * SECOND)
    seen = Probe(NOW, f"{transactions}:{transactions}:", {KEY: marks}, {KEY: known.as_of}, SAME)
    decision = decide_refresh(CALM_BOARD, {"sales": known}, seen, KEY, watched=True, wanted=False)
    assert decision.why == "changed"
    assert decision.due == min(marks.last + CALM_REPORT.debounce, marks.first + CALM_REPORT.max_wait)


def test_what_left_no_mark_still_ends_a_rest() -> None:
    busy = replace(CALM, visible="9:9:")
    decision = decide_refresh(CALM_BOARD, {"sales": RESTED}, busy, KEY, watched=True, wanted=False)
    assert (decision.due, decision.why) == (RESTED.as_of + MAX_UNVERIFIED, "unverified")


def test_the_refresh_of_another_board_ends_no_rest_and_what_else_ended_beside_it_does() -> None:
    busy = replace(CALM, visible="9:9:")
    for ours, why in ((frozenset({8}), "clock"), (frozenset({9}), "unverified"), (frozenset[int](), "unverified")):
        found = decide_refresh(CALM_BOARD, {"sales": RESTED}, busy, KEY, watched=True, wanted=False, ours=ours)
        assert found.why == why


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.sets(st.integers(0, 12)),
)
def test_whether_none_but_ours_have_ended_is_seen_from_two_snapshots(
    earlier: list[bool], since: list[bool], ours: set[int]
) -> None:
    ended = {xid for xid, over in enumerate(earlier) if over}
    later = ended | {xid for xid, over in enumerate(since) if over}
    assert only_ended(snapshot_of(ended), snapshot_of(later), *ours) == (later - ended <= ours)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("offset", [-HOUR, HOUR, 2 * SECOND])
@pytest.mark.parametrize("watched", [True, False])
def test_nothing_is_proved_once_a_clock_was_set_and_a_refresh_is_due(offset: timedelta, watched: bool) -> None:  # noqa: FBT001  both ways
    known = replace(STORED, visible="8:8:", offset=0 * SECOND)
    assert decided(known, replace(QUIET, offset=SECOND), watched=watched).proved, "slewed, as clocks are"
    decision = decided(known, replace(QUIET, offset=offset), watched=watched)
    assert (decision.proved, decision.why, decision.due <= NOW) == ((), "clocks", True)


def test_what_is_stored_of_the_future_puts_no_refresh_off() -> None:
    """Neither its cost, nor its rest, nor a mark, when the clock was set back by an hour."""
    future = replace(STORED, as_of=NOW + HOUR, verified=NOW + HOUR, offset=HOUR)
    assert decided(future, replace(QUIET, offset=0 * SECOND)).due <= NOW
    failing = replace(future, again=NOW + HOUR + SECOND, failed=NOW + HOUR)
    assert decided(failing).due <= NOW
    assert decided(replace(STORED, again=NOW + SECOND, failed=NOW)).due == NOW + SECOND
    assert decided(seen=marked(-HOUR, -HOUR)).due <= NOW
