"""The replayed day of the reports' measurement: a refresh comes when the prober's decisions say so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bench.reports_day.replay import WorkingDay, replay
from reports import load_reports
from reports.boards import Board

SECOND = timedelta(seconds=1)
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
END = BEGIN + timedelta(hours=2)
"""Of a short day."""
SOON = BEGIN + timedelta(minutes=1)
REPORT = replace(
    load_reports()["management"],
    name="sales",
    board="sales",
    sources=("shop.orders",),
    debounce=SECOND,
    max_wait=5 * SECOND,
    max_db_share=0.01,
)
BOARDS = {"sales": Board("sales", (REPORT,))}
CHEAP = {"sales": [5.0]}


def day(*changes: datetime, table: str = "shop.orders", flips: tuple[datetime, ...] = ()) -> WorkingDay:
    return WorkingDay(BEGIN, END, {table: changes}, {"sales": flips})


def test_a_day_without_changes_has_looks_and_no_refresh() -> None:
    told = replay(BOARDS, day(), CHEAP)
    assert (told.looks, told.reasons) == (7_200, {})


def test_changes_within_the_debounce_are_one_refresh_and_those_apart_are_one_each() -> None:
    together = [SOON + number * SECOND / 10 for number in range(5)]
    apart = [SOON + timedelta(minutes=1 + number) for number in range(7)]
    assert replay(BOARDS, day(*together, *apart), CHEAP).reasons == {("sales", "changed"): 8}


def test_changes_that_keep_coming_are_computed_each_time_the_ceiling_is_reached() -> None:
    lasting = [SOON + number * SECOND / 2 for number in range(120)]
    assert replay(BOARDS, day(*lasting), CHEAP).refreshes["sales"] in range(9, 14)


def test_a_dear_report_is_refreshed_no_oftener_than_its_budget_allows() -> None:
    lasting = [SOON + number * SECOND for number in range(3600)]
    told = replay(BOARDS, day(*lasting), {"sales": [100.0]})
    allowed = 3600 * REPORT.max_db_share / 0.1
    assert allowed * 0.9 < told.refreshes["sales"] < allowed + 4


def test_time_alone_makes_a_refresh_where_it_changes_the_numbers() -> None:
    assert replay(BOARDS, day(flips=(SOON, SOON + SECOND)), CHEAP).reasons == {("sales", "time"): 2}


def test_what_other_tables_do_leads_to_a_refresh_in_a_quarter_of_an_hour_at_most() -> None:
    elsewhere = [SOON + number * SECOND for number in range(3600)]
    told = replay(BOARDS, day(*elsewhere, table="shop.visits"), CHEAP)
    assert told.reasons.keys() == {("sales", "unverified")}
    assert told.refreshes["sales"] in {4, 5}


def test_a_burst_after_a_long_rest_is_one_refresh_and_what_was_refreshed_rests_again() -> None:
    late = BEGIN + timedelta(hours=1, milliseconds=300)
    burst = [late + number * SECOND / 4 for number in range(5)]
    other = replace(REPORT, name="stock", board="stock", sources=("shop.orders", "shop.stock"))
    boards = {**BOARDS, "stock": Board("stock", (other,))}
    told = replay(boards, day(*burst), {**CHEAP, "stock": [5.0]})
    assert told.reasons == {("sales", "changed"): 1, ("stock", "changed"): 1}
