"""The replayed day of the reports' measurement: a refresh comes when the prober's decisions say so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bench.reports_day.replay import Computed, ReportCosts, Touch, WorkingDay, replay
from reports import load_reports
from reports.boards import Board
from reports.refresh_scope import Why
from reports.tree import Node, grow_tree

SECOND = timedelta(seconds=1)
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
HOURS = BEGIN + timedelta(hours=2)
END = BEGIN + timedelta(minutes=20)
"""Ends of a day: of one in which something takes an hour, and of all others, whose looks cost the less."""
SOON = BEGIN + timedelta(minutes=1)
REPORT = replace(
    load_reports()["management"],
    name="sales",
    board="sales",
    sources=("shop.orders",),
    node_columns={"shop.orders": "node_id"},
    debounce=SECOND,
    max_wait=5 * SECOND,
    max_db_share=0.01,
)
BOARDS = {"sales": Board("sales", (REPORT,))}
CHEAP = {"sales": ReportCosts([1.0], [5.0])}
TREE = grow_tree([Node(1, None, "all", "all"), *(Node(one, 1, "one", "team") for one in range(2, 301))])


def day(
    *changes: datetime, table: str = "shop.orders", flips: tuple[datetime, ...] = (), end: datetime = END
) -> WorkingDay:
    """A day in which all that happens is of one node."""
    written, reached = ([Touch(at, 7) for at in instants] for instants in (changes, flips))
    return WorkingDay(BEGIN, end, TREE, {table: written}, {"sales": reached})


def test_a_day_without_changes_has_looks_and_no_refresh() -> None:
    told = replay(BOARDS, day(end=HOURS), CHEAP)
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
    told = replay(BOARDS, day(*lasting, end=HOURS), {"sales": ReportCosts([100.0], [100.0])})
    allowed = 3600 * REPORT.max_db_share / 0.1
    assert allowed * 0.9 < told.refreshes["sales"] < allowed + 4


def test_time_alone_makes_a_refresh_where_it_changes_the_numbers() -> None:
    assert replay(BOARDS, day(flips=(SOON, SOON + SECOND)), CHEAP).reasons == {("sales", "time"): 2}


def test_what_other_tables_do_leads_to_a_refresh_in_a_quarter_of_an_hour_at_most() -> None:
    elsewhere = [SOON + number * SECOND for number in range(3600)]
    told = replay(BOARDS, day(*elsewhere, table="shop.visits", end=HOURS), CHEAP)
    assert told.reasons.keys() == {("sales", "unverified")}
    assert told.refreshes["sales"] in {4, 5}


def test_a_burst_after_a_long_rest_is_one_refresh_and_what_was_refreshed_rests_again() -> None:
    late = BEGIN + timedelta(hours=1, milliseconds=300)
    burst = [late + number * SECOND / 4 for number in range(5)]
    other = replace(REPORT, name="stock", board="stock", sources=("shop.orders", "shop.stock"))
    boards = {**BOARDS, "stock": Board("stock", (other,))}
    told = replay(boards, day(*burst, end=HOURS), {**CHEAP, "stock": CHEAP["sales"]})
    assert told.reasons == {("sales", "changed"): 1, ("stock", "changed"): 1}


def test_a_refresh_asks_for_the_nodes_that_were_written_to_and_each_hour_for_the_whole_beside_them() -> None:
    apart = [SOON + number * timedelta(minutes=1) for number in range(110)]
    told = replay(BOARDS, day(*apart, end=HOURS), CHEAP)
    assert told.computed == {("sales", Computed.NODES): 109, ("sales", Computed.COMPARED): 1}
    assert told.whole == {("sales", Why.COMPARED): 1}
    assert told.nodes == {"sales": 109}


def test_nodes_that_are_written_to_together_are_asked_for_together_unless_they_are_too_many() -> None:
    few, many = ([Touch(SOON, node) for node in range(2, 2 + number)] for number in (30, 31))
    asked = replay(BOARDS, WorkingDay(BEGIN, END, TREE, {"shop.orders": few}), CHEAP)
    assert (asked.nodes, asked.whole) == ({"sales": 30}, {})
    all_of_them = replay(BOARDS, WorkingDay(BEGIN, END, TREE, {"shop.orders": many}), CHEAP)
    assert all_of_them.whole == {("sales", Why.MANY): 1}


def test_a_table_without_a_column_of_nodes_makes_the_whole_be_computed() -> None:
    report = replace(REPORT, sources=("shop.orders", "shop.trees"))
    told = replay({"sales": Board("sales", (report,))}, day(SOON, table="shop.trees"), CHEAP)
    assert told.whole == {("sales", Why.EVERYTHING): 1}


def test_time_asks_for_its_node_if_a_column_says_it_and_for_the_whole_if_a_query_does() -> None:
    flips = day(flips=(SOON, SOON + timedelta(minutes=1)))
    assert replay(BOARDS, flips, CHEAP).computed == {("sales", Computed.NODES): 2}
    by_query = replace(REPORT, valid_until="SELECT 1", valid_until_column="")
    told = replay({"sales": Board("sales", (by_query,))}, flips, CHEAP)
    assert told.whole == {("sales", Why.TIME): 2}


def test_a_report_whose_board_is_refreshed_for_the_time_of_another_asks_for_nothing_of_its_own() -> None:
    boards = {"sales": Board("sales", (REPORT, replace(REPORT, name="stock")))}
    told = replay(boards, day(flips=(SOON,)), {**CHEAP, "stock": CHEAP["sales"]})
    assert told.whole == {}
    assert told.computed == {("sales", Computed.NODES): 1}


def test_a_report_without_a_query_for_some_nodes_is_computed_whole() -> None:
    whole = replace(REPORT, sql_of_nodes="")
    told = replay({"sales": Board("sales", (whole,))}, day(SOON), CHEAP)
    assert told.whole == {("sales", Why.DECLARED): 1}


def test_a_node_is_asked_for_once_when_its_instant_is_reached() -> None:
    written, reached = [Touch(SOON + timedelta(minutes=5), 7)], [Touch(SOON, 8)]
    told = replay(BOARDS, WorkingDay(BEGIN, END, TREE, {"shop.orders": written}, {"sales": reached}), CHEAP)
    assert told.computed == {("sales", Computed.NODES): 2}
    assert told.nodes == {"sales": 2}
