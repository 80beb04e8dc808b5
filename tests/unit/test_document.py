"""Stored documents: an ETag that changes with the data and nothing else, and the least that must be written."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from reports import load_reports
from reports.document import Document, format_instant, microseconds, milliseconds, write_documents
from reports.node_ids import NodeId
from reports.rollup import Totals
from reports.store import StoredSet, etag_of, set_change
from reports.tree import Node, grow_tree

REPORT = load_reports()["management"]
NOW = datetime(2026, 11, 22, 9, 30, 0, 5, tzinfo=UTC)
NODES = [Node(1, None, "Compañía", "company"), Node(2, 1, "Ventas", "area"), Node(3, 1, "Obras", "area")]
TOTALS = {node.id: Totals({"employees": node.id}, {"employees": 10 * node.id}) for node in NODES}


def written(
    nodes: list[Node] = NODES, totals: dict[NodeId, Totals] = TOTALS, as_of: datetime = NOW
) -> dict[NodeId, Document]:
    return write_documents(REPORT, grow_tree(nodes), totals, as_of=as_of)


def test_a_document_says_whose_it_is_when_it_was_true_and_what_is_counted() -> None:
    document = written()[1]
    assert orjson.loads(document.body) == {
        "report": "management",
        "scope": 1,
        "schema": 1,
        "as_of": "2026-11-22T09:30:00.000005Z",
        "data": {
            "node": {"id": 1, "name": "Compañía", "kind": "company", "path": [1], "children": [2, 3]},
            "total": {"employees": 10},
            "own": {"employees": 1},
        },
    }
    head = {"etag": document.etag, "path": [1], "as_of_us": microseconds(NOW)}
    assert orjson.loads(document.head) == head
    assert orjson.loads(written()[3].head)["path"] == [1, 3]


def test_a_document_is_one_piece_of_json_whatever_stands_in_a_name() -> None:
    nodes = [Node(1, None, 'Ventas "Norte"\\\n\u2028ñ', "área")]
    document = written(nodes, {1: Totals({"a": 1.5, "b": None}, {"a": 1.5, "b": [{"c": "x"}]})})[1]
    told = orjson.loads(document.body)
    assert document.body == orjson.dumps(told)
    assert told["data"]["node"]["name"] == nodes[0].name
    assert document.head == orjson.dumps(orjson.loads(document.head))


def test_own_and_total_that_are_one_object_are_written_as_two_equal_ones_are() -> None:
    one: dict[str, object] = {"employees": 3}
    shared, apart = Totals(one, one), Totals(dict(one), dict(one))
    assert written(NODES[:1], {1: shared}) == written(NODES[:1], {1: apart})


def test_an_etag_is_read_from_a_head_however_it_is_written() -> None:
    head = written()[1].head
    assert etag_of(head) == written()[1].etag
    others = [b'{"path": [1], "etag": "0123"}', b'{"etag":"0123","path":[1]}', b'{"etag":"0123"}']
    assert {etag_of(one) for one in others} == {"0123"}


def test_time_alone_changes_no_etag() -> None:
    later = written(as_of=NOW + timedelta(hours=1))
    assert {key: one.etag for key, one in later.items()} == {key: one.etag for key, one in written().items()}


@pytest.mark.parametrize(
    ("nodes", "totals", "changed"),
    [
        (NODES, {**TOTALS, 2: Totals({"employees": 2}, {"employees": 21})}, {2}),
        (NODES, {**TOTALS, 2: Totals({"employees": 3}, {"employees": 20})}, {2}),
        ([NODES[0], Node(2, 1, "Sales", "area"), NODES[2]], TOTALS, {2}),
        ([NODES[0], NODES[1], Node(3, 2, "Obras", "area")], TOTALS, {1, 2, 3}),
        (NODES, TOTALS, set()),
    ],
)
def test_what_changed_changes_its_own_etag_and_is_what_is_written(
    nodes: list[Node], totals: dict[NodeId, Totals], changed: set[int]
) -> None:
    stored = StoredSet(1, {key: one.etag for key, one in written().items()})
    change = set_change(stored, written(nodes, totals))
    assert (set(change.changed), change.gone) == (changed, [])


def test_new_scopes_are_written_and_lost_ones_taken_away() -> None:
    documents = written()
    stored = StoredSet(4, {1: documents[1].etag, 9: "0" * 16, 7: "0" * 16})
    change = set_change(stored, documents)
    assert (sorted(change.changed), change.gone) == ([2, 3], [7, 9])
    assert sorted(set_change(StoredSet(0, {}), documents).changed) == [1, 2, 3]


def test_instants_are_kept_to_the_microsecond_in_any_zone() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=-5)))
    assert microseconds(local) == 1_795_339_800_000_005
    assert format_instant(local) == format_instant(NOW) == "2026-11-22T09:30:00.000005Z"
    assert format_instant(NOW.replace(microsecond=0)) == "2026-11-22T09:30:00.000000Z"
    assert milliseconds(timedelta(seconds=1.2344)) == 1234
