"""A board that has rested: a change is collected as at any other time, and our own refreshes wake nobody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings, strategies as st

from jobs.reports import load_reports
from jobs.reports.boards import Board
from worker.reports.pace import MAX_UNVERIFIED, Known, Marks, Seen, decide, only_ended

SECOND = timedelta(seconds=1)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
KEY = "default:sales"
REPORT = replace(
    load_reports()["management"],
    name="sales",
    board="sales",
    sources=("shop.orders",),
    every=timedelta(days=1),
    debounce=2 * SECOND,
    max_wait=5 * SECOND,
)
BOARD = Board("sales", (REPORT,))
RESTED = Known(generation=3, as_of=NOW - timedelta(hours=9), verified=NOW - SECOND, visible="7:7:", xid=7)
CALM = Seen(NOW, "8:8:", {}, {KEY: RESTED.as_of})


@settings(deadline=None)
@given(st.floats(0, 9), st.floats(0, 9), st.integers(8, 20), st.integers(0, 100_000))
def test_a_change_after_any_rest_is_collected_for_the_debounce_and_never_longer_than_max_wait(
    first: float, since: float, transactions: int, rested: int
) -> None:
    marks = Marks(NOW - max(first, since) * SECOND, NOW - min(first, since) * SECOND)
    known = replace(RESTED, as_of=marks.first - rested * SECOND)
    seen = Seen(NOW, f"{transactions}:{transactions}:", {KEY: marks}, {KEY: known.as_of})
    decision = decide(BOARD, {"sales": known}, seen, KEY, watched=True, wanted=False)
    assert decision.why == "changed"
    assert decision.due == min(marks.last + REPORT.debounce, marks.first + REPORT.max_wait)


def test_what_left_no_mark_still_ends_a_rest() -> None:
    busy = replace(CALM, visible="9:9:")
    decision = decide(BOARD, {"sales": RESTED}, busy, KEY, watched=True, wanted=False)
    assert (decision.due, decision.why) == (RESTED.as_of + MAX_UNVERIFIED, "unverified")


def test_the_refresh_of_another_board_ends_no_rest_and_what_else_ended_beside_it_does() -> None:
    busy = replace(CALM, visible="9:9:")
    for ours, why in ((frozenset({8}), "clock"), (frozenset({9}), "unverified"), (frozenset[int](), "unverified")):
        found = decide(BOARD, {"sales": RESTED}, busy, KEY, watched=True, wanted=False, ours=ours)
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
    assert only_ended(_snapshot_of(ended), _snapshot_of(later), *ours) == (later - ended <= ours)


def _snapshot_of(ended: set[int]) -> str:
    """As Postgres writes it: transactions 0 to 11 have begun."""
    xmax = max(ended, default=-1) + 1
    running = [xid for xid in range(xmax) if xid not in ended]
    return f"{min(running, default=xmax)}:{xmax}:{','.join(map(str, running))}"
