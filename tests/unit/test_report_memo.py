"""What is not reckoned again because it cannot have changed, and what is."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from reports.document import Document
from reports.memo import RefreshMemo, etags_of
from reports.node_ids import NodeId
from reports.tree import Node, Tree, grow_tree
from reports.tree_rules import ONE_ROOT
from tests.unit.test_document import REPORT

ROWS: list[dict[str, Any]] = [{"node_id": 1, "people": [4, 7]}, {"node_id": 2, "people": None}]
NODES: list[dict[str, Any]] = [{"id": 1, "parent_id": None}, {"id": 2, "parent_id": 1}]

NODES_QUERY = ("nodes", ONE_ROOT)


def grown(rows: Any) -> Tree:
    return grow_tree(Node(row["id"], row["parent_id"], "x", "team") for row in rows)


class Record(dict[str, Any]):
    """A row that is equal to another as the driver's are: by its values, whatever their names."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and list(self.values()) == list(other.values())

    __hash__ = None


class Writer:
    """Documents of some rows, and how often they were written."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.times = 0

    def __call__(self) -> Mapping[NodeId, Document]:
        self.times += 1
        return {row["node_id"]: Document(repr(sorted(row.items())), b"{}", b"{}") for row in self._rows}


def test_equal_rows_of_the_same_tree_are_written_once_and_again_when_somebody_asks_for_them() -> None:
    memo, first, again = RefreshMemo(), Writer(ROWS), Writer([dict(row) for row in ROWS])
    tree = memo.tree(NODES_QUERY, NODES, grown)
    former = memo.documents(REPORT.name, tree, ROWS, first)
    latter = memo.documents(REPORT.name, tree, [dict(row) for row in ROWS], again)
    assert etags_of(latter) == etags_of(former)
    assert (first.times, again.times, len(latter)) == (1, 0, 2)
    assert latter[2] == former[2]
    assert dict(latter) == dict(former)
    assert again.times == 1


def test_the_same_tree_is_given_for_equal_rows_and_another_one_for_others() -> None:
    memo = RefreshMemo()
    tree = memo.tree(NODES_QUERY, NODES, grown)
    assert memo.tree(NODES_QUERY, [dict(row) for row in NODES], grown) is tree
    moved = memo.tree(NODES_QUERY, [*NODES, {"id": 3, "parent_id": 2}], grown)
    assert moved is not tree
    writer = Writer(ROWS)
    memo.documents("report", tree, ROWS, Writer(ROWS))
    memo.documents("report", moved, ROWS, writer)
    assert writer.times == 1, "a path or a name may be another one"


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ({"n": 1}, {"n": True}),
        ({"n": 1}, {"n": 1.0}),
        ({"n": 1}, {"n": Decimal("1.00")}),
        ({"n": Decimal("1.0")}, {"n": Decimal("1.00")}),
        ({"n": [1]}, {"n": [Decimal("1.0")]}),
        ({"n": [Decimal("1.0")]}, {"n": [Decimal("1.00")]}),
        ({"a": 1, "b": 2}, {"b": 1, "a": 2}),
    ],
)
def test_equal_rows_that_are_shown_differently_are_written_again(
    former: dict[str, Any], now: dict[str, Any]
) -> None:
    memo = RefreshMemo()
    tree = memo.tree(NODES_QUERY, NODES, grown)
    writers = [Writer([{"node_id": 1}]) for _ in range(3)]
    for one, writer in zip((former, now, now), writers, strict=True):
        memo.documents("report", tree, [Record(dict.fromkeys(one)), Record(one)], writer)
    assert [writer.times for writer in writers] == [1, 1, 0]


rows = st.lists(st.fixed_dictionaries({"node_id": st.integers(1, 3), "n": st.integers(0, 2)}), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), rows), max_size=12))
def test_whatever_came_before_the_etags_are_those_of_the_rows(
    asked: list[tuple[str, list[dict[str, Any]]]],
) -> None:
    memo = RefreshMemo()
    tree = memo.tree(NODES_QUERY, NODES, grown)
    for report, found in asked:
        known = etags_of(memo.documents(report, tree, found, Writer(found)))
        assert known == etags_of(Writer(found)())
