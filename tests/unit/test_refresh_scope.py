"""Which nodes a refresh asks for: as few as are enough, and all whenever anything is in doubt."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reports.bounds import DEFAULT
from reports.day import Day
from reports.last_set import LastSet, compute_whole
from reports.node_ids import IdKind
from reports.pace import KnownSet
from reports.refresh_scope import RefreshScope, Why, distrusted_since, query_digest, refresh_scope
from reports.taken_marks import MOST_NODES, TakenMarks, read_marks
from reports.tree import Node, grow_tree
from reports.tree_rules import LEAVE_OUT, TreeRules
from tests.unit.test_document import REPORT

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TODAY = Day(NOON - 12 * 60 * MINUTE, NOON + 12 * 60 * MINUTE)
TASKS, CHECKINS = "shop.tasks", "shop.checkins"
KEYED = replace(
    REPORT,
    rollup={"people": "sum"},
    sources=(TASKS,),
    sql_of_nodes="SELECT node_id, people, changes_at FROM t WHERE node_id = ANY($1)",
    sql_of_nodes_parameters=("nodes",),
    node_columns={TASKS: "node_id"},
    valid_until="SELECT min(changes_at)",
    valid_until_column="changes_at",
)
XID = (5 << 32) + 77
KNOWN = KnownSet(as_of=NOON, verified=NOON, generation=3)


def last_set(**changes: Any) -> LastSet:
    """A set of 1,000 nodes below the node 1, stored at noon; the numbers of node 7 change five minutes later."""
    tree = grow_tree([Node(1, None, "all", "all"), *(Node(one, 1, "one", "team") for one in range(2, 1_001))])
    rows = [{"node_id": 7, "people": 2, "changes_at": NOON + 5 * MINUTE}]
    last, _ = compute_whole(KEYED, tree, rows, as_of=NOON, day=TODAY, digest="d1", bounds=DEFAULT)
    last.note_stored(3, NOON, frozenset())
    last.xid = XID
    for name, value in changes.items():
        setattr(last, name, value)
    return last


def marks(*nodes: object, source: str = TASKS, **changes: Any) -> TakenMarks:
    named = {source: frozenset(map(str, nodes))} if nodes else {}
    return replace(TakenMarks(len(nodes), named, former=77), **changes)


def scope(last: LastSet | None, taken: TakenMarks, known: KnownSet = KNOWN, **changes: Any) -> RefreshScope:
    given: dict[str, Any] = {
        "now": NOON + MINUTE,
        "day": TODAY,
        "digest": "d1",
        "every": 60 * MINUTE,
        "asked": bool(taken.count),
    }
    given |= changes
    return refresh_scope(last, taken, known, **given)


def test_the_nodes_that_marks_of_the_reports_sources_name_are_asked_for() -> None:
    assert scope(last_set(), marks(3, 9)) == RefreshScope(frozenset({3, 9}), Why.NODES)


def test_marks_of_tables_that_the_report_does_not_read_ask_for_nothing() -> None:
    assert scope(last_set(), marks(3, 9, source=CHECKINS)) == RefreshScope(frozenset(), Why.NODES)


def test_a_node_whose_instant_is_reached_is_asked_for_as_well() -> None:
    assert scope(last_set(), marks(3), now=NOON + 5 * MINUTE).nodes == frozenset({3, 7})
    assert scope(last_set(), marks(), now=NOON + 5 * MINUTE, asked=True) == RefreshScope(frozenset({7}), Why.NODES)


def test_after_an_hour_the_whole_is_computed_and_compared_with_the_nodes() -> None:
    asked = scope(last_set(), marks(3), now=NOON + 60 * MINUTE)
    assert (asked.why, asked.nodes) == (Why.COMPARED, frozenset({3, 7}))
    assert asked.is_whole
    assert asked.is_comparable


def by_query(last: LastSet) -> LastSet:
    last.report = replace(KEYED, valid_until_column="")
    last.valid_until = NOON + MINUTE
    return last


WHOLE: dict[Why, Callable[[], RefreshScope]] = {
    Why.FIRST: lambda: scope(None, marks(3)),
    Why.DISTRUSTED: lambda: scope(last_set(), marks(3), distrusted=True),
    Why.TAKEN_UP: lambda: scope(last_set(), marks(3, former=78)),
    Why.STORED: lambda: scope(last_set(), marks(3), replace(KNOWN, generation=4)),
    Why.CATALOGUE: lambda: scope(last_set(), marks(3), digest="d2"),
    Why.TIME: lambda: scope(last_set(), marks(3), day=Day(TODAY.end, TODAY.end + 24 * 60 * MINUTE)),
    Why.EVERYTHING: lambda: scope(last_set(), marks(3, everything=True)),
    Why.UNKNOWN_NODE: lambda: scope(last_set(), marks(3, 1_001)),
    Why.MANY: lambda: scope(last_set(), marks(*range(1, 102))),
    Why.UNASKED: lambda: scope(last_set(), marks()),
}


@pytest.mark.parametrize("why", WHOLE)
def test_the_whole_is_computed_and_the_reason_told(why: Why) -> None:
    assert WHOLE[why]() == RefreshScope(None, why)


OTHERWISE: dict[str, tuple[Why, Callable[[], RefreshScope]]] = {
    "nobody has taken up marks of the board": (Why.TAKEN_UP, lambda: scope(last_set(), marks(3, former=None))),
    "the last refresh did not write": (Why.TAKEN_UP, lambda: scope(last_set(xid=None), marks(3, former=None))),
    "nothing is stored": (Why.STORED, lambda: scope(last_set(), marks(3), replace(KNOWN, stored=False))),
    "a set of the same generation after a loss": (
        Why.STORED,
        lambda: scope(last_set(), marks(3), replace(KNOWN, as_of=NOON - MINUTE)),
    ),
    "a query says when time changes unknown nodes": (Why.TIME, lambda: scope(by_query(last_set()), marks(3))),
    "the database's clock was set back": (Why.TIME, lambda: scope(last_set(), marks(3), now=NOON - MINUTE)),
    "a mark that is no number": (Why.UNKNOWN_NODE, lambda: scope(last_set(), marks("x"))),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_whatever_is_in_doubt_leads_to_the_whole(case: str) -> None:
    why, decide = OTHERWISE[case]
    assert decide() == RefreshScope(None, why)


def test_marks_of_nodes_that_the_tree_leaves_out_ask_for_nothing() -> None:
    last = last_set()
    last.tree = replace(last.tree, rules=TreeRules(orphans=LEAVE_OUT))
    assert scope(last, marks(3, 5_000)).nodes == frozenset({3})


def test_a_text_that_is_no_id_as_documents_show_it_leads_to_the_whole_even_if_strangers_are_left_out() -> None:
    last = last_set()
    rules = TreeRules(orphans=LEAVE_OUT)
    last.tree = grow_tree([Node("b3", None, "all", "all")], rules)
    assert scope(last, marks("b3", "c4")).nodes == frozenset({"b3"})
    assert scope(last, marks("b3 ")).why is Why.UNKNOWN_NODE
    last.tree = replace(last.tree, kind=IdKind.UUID)
    assert scope(last, marks("D5A0C1F2-0000-4000-8000-00000000000A")).why is Why.UNKNOWN_NODE
    assert scope(last, marks("d5a0c1f2-0000-4000-8000-00000000000a")).why is Why.NODES


def test_a_mark_of_a_table_for_which_another_report_declares_a_column_leads_to_the_whole() -> None:
    last = last_set()
    last.report = replace(last.report, sources=(*last.report.sources, "shop.else"))
    assert scope(last, marks(3, source="shop.else")).why is Why.EVERYTHING


def test_a_query_that_differed_from_the_whole_is_not_used_for_a_day_nor_another_one_for_its_sake() -> None:
    known = replace(KNOWN, distrusted=NOON, distrusted_query=query_digest(KEYED))
    assert distrusted_since(KEYED, known, None, NOON + 23 * 60 * MINUTE) == NOON
    assert distrusted_since(KEYED, known, None, NOON + 24 * 60 * MINUTE) is None
    assert distrusted_since(replace(KEYED, sql_of_nodes="SELECT"), known, None, NOON) is None
    assert distrusted_since(KEYED, KNOWN, NOON, NOON + MINUTE) == NOON


def test_more_nodes_than_are_read_count_as_all() -> None:
    rows: list[dict[str, Any]] = [
        {"source": TASKS, "node": b"%d" % one, "named": True, "marks": 1} for one in range(MOST_NODES + 1)
    ]
    assert read_marks(rows, 1).everything
    assert not read_marks(rows[1:], 1).everything


def test_a_mark_of_rows_without_a_node_counts_for_none() -> None:
    rows: list[dict[str, Any]] = [{"source": TASKS, "node": None, "named": True, "marks": 2}]
    assert read_marks(rows, 1) == TakenMarks(2, {TASKS: frozenset()}, former=1)
    assert scope(last_set(), replace(read_marks(rows, 1), former=77)) == RefreshScope(frozenset(), Why.NODES)


def test_a_mark_without_nodes_counts_as_all() -> None:
    rows: list[dict[str, Any]] = [
        {"source": TASKS, "node": b"7", "named": True, "marks": 2},
        {"source": "shop.nodes", "node": None, "named": False, "marks": 2},
    ]
    assert read_marks(rows, 1) == TakenMarks(2, {TASKS: frozenset({"7"})}, everything=True, former=1)
