"""Instants at which time changes the rows of nodes: the earliest is that of the latest notes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from reports.deadlines import Deadlines
from reports.measures import INFINITE, InvalidRows

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTES = st.integers(0, 5)
NOTES = st.lists(st.tuples(st.integers(1, 4), st.none() | MINUTES))


def at(minutes: int | None) -> datetime | None:
    return None if minutes is None else NOON + timedelta(minutes=minutes)


@given(NOTES, MINUTES)
def test_the_earliest_and_the_reached_are_those_of_each_nodes_latest_note(
    notes: list[tuple[int, int | None]], minute: int
) -> None:
    deadlines = Deadlines("changes_at")
    latest: dict[int, datetime] = {}
    for node, minutes in notes:
        deadlines.note_instant(node, at(minutes))
        latest = {one: instant for one, instant in latest.items() if one != node}
        if (instant := at(minutes)) is not None:
            latest[node] = instant
        assert deadlines.earliest == min(latest.values(), default=None)
    now = NOON + timedelta(minutes=minute)
    assert sorted(deadlines.reached(now)) == sorted(one for one, instant in latest.items() if instant <= now)


def test_an_infinite_instant_is_none() -> None:
    deadlines = Deadlines("changes_at")
    deadlines.note_instant(1, INFINITE)
    assert deadlines.earliest is None


@pytest.mark.parametrize("value", [datetime(2026, 11, 29), "2026-11-29", 5])  # noqa: DTZ001  without zone
def test_what_is_no_instant_is_refused_with_the_column(value: object) -> None:
    with pytest.raises(InvalidRows, match="the column changes_at must be a timestamptz"):
        Deadlines("changes_at").note_instant(1, value)


def test_former_instants_are_few_however_often_they_change() -> None:
    deadlines = Deadlines("changes_at")
    for second in range(10_000):
        deadlines.note_instant(1, NOON + timedelta(seconds=second))
    assert len(deadlines._queue) <= 1_002
    assert deadlines.earliest == NOON + timedelta(seconds=9_999)
