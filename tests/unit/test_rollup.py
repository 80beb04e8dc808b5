"""Totals over subtrees equal the slow, obvious way: gather all rows of the subtree and compute_measures."""

import math
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, strategies as st

from reports.node_ids import NodeId
from reports.numbers import write_json
from reports.rollup import InvalidRows, RolledUp, Totals, roll_up
from reports.tree import Node, Tree, grow_tree

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ROLLUP = {
    "people": "sum",
    "hours": "sum",
    "money": "sum",
    "active": "distinct",
    "blocked": "any",
    "oldest": "min",
    "oldest_id": "of oldest",
    "best": "max",
    "best_id": "of best",
    "kinds": "sums",
    "first": "top 3 by at, id asc",
    "last": "top 2 by at, id desc",
    "rate": "people / active",
}
ITEMS = st.fixed_dictionaries({"id": st.integers(1, 12), "at": st.sampled_from(["08:00", "08:30", "09:00"])})
MEASURES = {
    "people": st.integers(-5, 50),
    "hours": st.integers(-40, 40).map(lambda quarters: quarters / 4),
    "money": st.decimals(-100, 100, places=2),
    "active": st.lists(st.none() | st.integers(1, 9)),
    "blocked": st.booleans(),
    "oldest": st.integers(0, 5).map(lambda hours: EPOCH + timedelta(hours=hours)),
    "oldest_id": st.integers(1, 3),
    "best": st.decimals(0, 3, places=1),
    "best_id": st.integers(1, 3),
    "kinds": st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9)),
    "first": st.lists(ITEMS, max_size=5),
    "last": st.lists(ITEMS, max_size=5),
}
ALWAYS = {"people", "hours", "money", "blocked"}
"""Numbers and flags must be there; the others may be null."""
ROWS = st.fixed_dictionaries(
    {name: values if name in ALWAYS else st.none() | values for name, values in MEASURES.items()}
)


def trees(parents: list[int]) -> Tree:
    """Node 1 is the root; node n + 2 hangs below node parents[n] % (n + 1) + 1."""
    below = [Node(place + 2, parent % (place + 1) + 1, "", "") for place, parent in enumerate(parents)]
    return grow_tree([Node(1, None, "", ""), *below])


TREES = st.lists(st.integers(0, 20), max_size=12).map(trees)


def subtree(tree: Tree, node_id: NodeId) -> set[NodeId]:
    return {node_id}.union(*(subtree(tree, child) for child in tree.children[node_id]))


def slowly(rows: list[dict[str, Any]]) -> dict[str, object]:
    """The measures of a set of rows, without any roll-up."""

    def known(name: str) -> list[Any]:
        return [row[name] for row in rows if row[name] is not None]

    def shown(value: Any) -> Any:
        return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value

    def beside(name: str, choose: Callable[[Any], Any], last: float) -> tuple[Any, Any]:
        pairs = [(row[name], row[f"{name}_id"]) for row in rows if row[name] is not None]
        if not pairs:
            return None, None
        value, found = choose((value, last if found is None else found) for value, found in pairs)
        return shown(value), None if found == last else found

    def items(name: str) -> list[Any]:
        return sorted((one for found in known(name) for one in found), key=lambda one: (one["at"], one["id"]))

    people, active = sum(known("people")), len({one for ids in known("active") for one in ids if one is not None})
    kinds = [(key, number) for found in known("kinds") for key, number in found.items()]
    (oldest, oldest_id), (best, best_id) = beside("oldest", min, math.inf), beside("best", max, -math.inf)
    return {
        "people": people,
        "hours": sum(known("hours")),
        "money": sum(known("money")),
        "active": active,
        "blocked": any(known("blocked")),
        "oldest": oldest,
        "oldest_id": oldest_id,
        "best": best,
        "best_id": best_id,
        "kinds": {key: sum(number for other, number in kinds if other == key) for key, _ in kinds},
        "first": items("first")[:3],
        "last": items("last")[::-1][:2],
        "rate": people / active if active else None,
    }


def as_the_database_gives(row: dict[str, Any]) -> dict[str, Any]:
    """JSON comes out of the driver as text."""
    of_json = {"kinds", "first", "last"}
    return {
        name: orjson.dumps(one).decode() if name in of_json and one is not None else one
        for name, one in row.items()
    }


@given(TREES, st.data())
def test_every_total_equals_that_of_the_gathered_rows(tree: Tree, data: st.DataObject) -> None:
    rows = data.draw(st.dictionaries(st.sampled_from(sorted(tree.nodes)), ROWS))
    for row in rows.values():  # the database leaves nothing beside a value that is not there
        row["oldest_id"] = row["oldest_id"] if row["oldest"] else None
        row["best_id"] = row["best_id"] if row["best"] is not None else None

    given_rows = [{"node": key, **as_the_database_gives(row)} for key, row in rows.items()]
    totals = roll_up(given_rows, scope="node", rollup=ROLLUP, tree=tree)

    assert totals.keys() == tree.nodes.keys()
    for node_id in tree.nodes:
        assert totals[node_id].own == slowly([rows[node_id]] if node_id in rows else [])
        assert totals[node_id].total == slowly([rows[one] for one in subtree(tree, node_id) if one in rows])
    write_json([[one.own, one.total] for one in totals.values()])


AGAIN = ROLLUP | {"heads": "sum", "age": "avg by heads", "weight": "sum", "level": "sql"}
AGAIN_ROWS = st.tuples(
    ROWS,
    st.fixed_dictionaries(
        {
            "heads": st.integers(0, 9),
            "age": st.integers(0, 90),
            "weight": st.floats(-1e9, 1e9),
            "level": st.none() | st.integers(0, 3),
        }
    ),
).map(lambda parts: parts[0] | parts[1])


@given(TREES, st.data())
def test_some_nodes_rolled_up_again_have_the_bytes_of_all_rolled_up_anew(tree: Tree, data: st.DataObject) -> None:
    nodes = sorted(tree.nodes)
    rows = data.draw(st.dictionaries(st.sampled_from(nodes), AGAIN_ROWS))

    def given_rows(asked: Collection[NodeId]) -> list[dict[str, Any]]:
        return [{"node": one, **as_the_database_gives(rows[one])} for one in asked if one in rows]

    kept = RolledUp(scope="node", rollup=AGAIN, tree=tree)
    known = kept.roll_up(given_rows(nodes))
    for _ in range(data.draw(st.integers(1, 4))):
        asked = data.draw(st.sets(st.sampled_from(nodes), min_size=1))
        for one in asked:
            row = data.draw(st.none() | AGAIN_ROWS)
            rows = {node: value for node, value in rows.items() if node != one} | ({one: row} if row else {})
        again = kept.roll_up_again(given_rows(sorted(asked)), asked)
        assert again.keys() == {node for one in asked for node in tree.paths[one]}
        known |= again
        anew = roll_up(given_rows(nodes), scope="node", rollup=AGAIN, tree=tree)
        for node, totals in anew.items():
            assert write_json([known[node].own, known[node].total]) == write_json([totals.own, totals.total])


def test_a_row_of_a_node_that_was_not_asked_for_is_refused() -> None:
    kept = RolledUp(scope="node", rollup={"people": "sum"}, tree=PAIR)
    kept.roll_up([{"node": 1, "people": 2}, {"node": 2, "people": 3}])
    with pytest.raises(InvalidRows, match=r"returned node 1, which is not one of them; write = ANY\(:nodes\)"):
        kept.roll_up_again([{"node": 1, "people": 2}, {"node": 2, "people": 4}], {2})


PAIR = trees([0])
NAN = float("nan")


def of_pair(how: dict[str, str], root: dict[str, Any], leaf: dict[str, Any]) -> Totals:
    rows = [{"node": 1, **root}, {"node": 2, **leaf}]
    return roll_up(rows, scope="node", rollup=how, tree=PAIR)[1]


def test_decimals_are_added_and_shown_with_all_their_digits() -> None:
    long = Decimal("123456789012345678.123456789")
    rules = {"a": "sum", "b": "sum", "c": "max", "d": "sql", "e": "of c"}
    first = {"a": Decimal("0.1"), "b": Decimal("153229.16"), "c": long, "d": [long], "e": long}
    totals = of_pair(rules, first, {"a": Decimal("0.2"), "b": 0, "c": Decimal(1), "d": None, "e": None})
    assert totals.total == {"a": Decimal("0.3"), "b": Decimal("153229.16"), "c": long, "d": [long], "e": long}
    assert write_json(totals.total) == (
        b'{"a":0.3,"b":153229.16,"c":123456789012345678.123456789,'
        b'"d":[123456789012345678.123456789],"e":123456789012345678.123456789}'
    )


@pytest.mark.parametrize(
    ("mine", "other", "written"),
    [
        ('{"x": 0.1, "y": 1}', '{"x": 0.2}', b'{"a":{"x":0.3,"y":1}}'),
        ('{"x": 153229.16}', None, b'{"a":{"x":153229.16}}'),
        ('{"x": 18446744073709551616}', '{"x": 1}', b'{"a":{"x":18446744073709551617}}'),
        ('{"a:b": 1}', '{"a:b": 2}', b'{"a":{"a:b":3}}'),
        ('{"10": 1, "9": 2}', '{"010": 3}', b'{"a":{"010":3,"10":1,"9":2}}'),
    ],
)
def test_sums_by_key_have_the_digits_and_members_of_the_database(
    mine: str, other: str | None, written: bytes
) -> None:
    assert write_json(of_pair({"a": "sums"}, {"a": mine}, {"a": other}).total) == written


def test_a_sum_of_more_digits_than_a_decimal_usually_has_loses_none() -> None:
    large, small = Decimal(10**60), Decimal("1e-60")
    assert of_pair({"a": "sum"}, {"a": large}, {"a": small}).total == {
        "a": Decimal("1" + "0" * 60 + "." + "0" * 59 + "1")
    }


def test_rows_of_a_top_keep_their_digits() -> None:
    given_rows = '[{"id": 1, "amount": 123456789012345678.123456789, "of": [0.10]}]'
    told = of_pair({"a": "top 3 by id asc"}, {"a": given_rows}, {"a": None}).total
    assert write_json(told) == b'{"a":[{"id":1,"amount":123456789012345678.123456789,"of":[0.10]}]}'


@pytest.mark.parametrize(
    ("how", "value", "words"),
    [
        ("sums", '{"a": 1, "a": 2}', "'a' occurs twice"),
        ("sums", '{"a": 1, "\\u0061": 2}', "'a' occurs twice"),
        ("sums", '{"a": 0.5, "a": 2}', "'a' occurs twice"),
        ("sums", '{"__proto__": 1}', "__proto__"),
        ("sums", '{"a": {"b": 1}}', "key 'a'"),
        ("sums", '{"a": null}', "key 'a'"),
        ("sums", '{"a": true}', "key 'a'"),
        ("sums", '{"\u00e9": 1, "e\u0301": 2}', "look the same"),
        ("top 2 by id asc", '[{"id": 1, "id": 2}]', "'id' occurs twice"),
        ("top 2 by id asc", '[{"id" : 1, "id"\t: 2}]', "'id' occurs twice"),
        ("top 2 by id asc", '[{"id": 1, "x": 1e999}]', "cannot be parsed"),
        ("min", datetime.max, "infinite"),  # noqa: DTZ901  as the driver gives it
        ("max", datetime(2026, 1, 1), "AT TIME ZONE"),  # noqa: DTZ001  that is the point
        ("sql", [datetime(2026, 1, 1)], "AT TIME ZONE"),  # noqa: DTZ001  that is the point
        ("distinct", [NAN], "NaN"),
    ],
)
def test_what_a_document_would_lose_merge_or_double_is_refused(how: str, value: object, words: str) -> None:
    with pytest.raises(InvalidRows, match=r"\(node \d\)$") as refusal:
        of_pair({"measure": how}, {"measure": value}, {"measure": None})
    assert refusal.value.measure == "measure"
    assert words in refusal.value.words


def test_keys_of_two_nodes_that_look_the_same_are_refused() -> None:
    with pytest.raises(InvalidRows, match=r"look the same.*normalize.*\(node \d\)"):
        of_pair({"a": "sums"}, {"a": '{"\u00e9": 1}'}, {"a": '{"e\u0301": 1}'})


def test_sums_beyond_what_json_holds_are_refused() -> None:
    for most in (1e308, Decimal("1e308")):
        with pytest.raises(InvalidRows, match="a: the sum is beyond"):
            of_pair({"a": "sum"}, {"a": most}, {"a": most})


@pytest.mark.parametrize("number", [float, Decimal])
def test_a_ratio_or_an_average_beyond_what_json_holds_is_refused_and_never_written_as_null(number: Any) -> None:
    rollup = {"a": "sum", "b": "sum", "q": "a / b"}
    with pytest.raises(InvalidRows, match="q: a ratio is beyond"):
        of_pair(rollup, {"a": number("1e300"), "b": number("1e-300")}, {"a": number(0), "b": number(0)})
    for least in ("1e308", "-1e308"):  # the sum of both products is infinite, or no number at all
        with pytest.raises(InvalidRows, match="m: a ratio is beyond"):
            of_pair({"w": "sum", "m": "avg by w"}, {"m": 1e308, "w": number(100)}, {"m": float(least), "w": 100})


def test_a_numeric_beyond_what_json_holds_is_told_as_such_and_not_as_infinite() -> None:
    with pytest.raises(InvalidRows, match=r"a: 1E\+400 is beyond 1\.8e308.*use another unit"):
        of_pair({"a": "max"}, {"a": Decimal("1e400")}, {"a": 1})


@pytest.mark.parametrize("average", ["3", True, date(2026, 1, 1)])
def test_an_average_that_is_no_number_is_refused_by_its_measure_and_node(average: object) -> None:
    with pytest.raises(InvalidRows, match=r"m: .* is not a number; return one \(node 1\)"):
        of_pair({"w": "sum", "m": "avg by w"}, {"m": average, "w": 1}, {"m": None, "w": 0})


def test_whole_numbers_beyond_64_bits_keep_their_digits() -> None:
    most = 2**63 - 1
    totals = of_pair({"a": "sum", "b": "sums"}, {"a": most, "b": f'{{"x": {most}}}'}, {"a": 1, "b": '{"x": 1}'})
    assert write_json(totals.total) == b'{"a":9223372036854775808,"b":{"x":9223372036854775808}}'


@pytest.mark.parametrize(
    "value", [EPOCH, date(2026, 1, 1), UUID(int=7), "text", 5, 1.5, Decimal("1.5"), None, True]
)
def test_what_may_stand_beside_an_extreme_can_be_shown(value: object) -> None:
    totals = of_pair({"a": "min", "b": "of a"}, {"a": 2, "b": None}, {"a": 1, "b": value})
    assert orjson.loads(write_json(totals.total)) == {"a": 1, "b": orjson.loads(write_json(totals.total["b"]))}


@pytest.mark.parametrize("how", ["min", "max"])
def test_of_equal_extremes_a_known_companion_is_taken(how: str) -> None:
    rules = {"a": how, "b": "of a"}
    for known, unknown in (({"a": 1, "b": 7}, {"a": 1, "b": None}), ({"a": 1, "b": None}, {"a": 1, "b": 7})):
        assert of_pair(rules, known, unknown).total == {"a": 1, "b": 7}


@pytest.mark.parametrize(
    ("how", "value"),
    [
        ("sum", NAN),
        ("sum", Decimal("NaN")),
        ("sum", Decimal("sNaN")),
        ("sum", float("inf")),
        ("sum", Decimal("-Infinity")),
        ("sum", Decimal("1e400")),
        ("sum", "5"),
        ("sum", True),
        ("sum", [1]),
        ("min", NAN),
        ("max", Decimal("NaN")),
        ("min", b"x"),
        ("max", timedelta(1)),
        ("any", "false"),
        ("any", Decimal(1)),
        ("distinct", 5),
        ("distinct", "ab"),
        ("distinct", [[1], [2]]),
        ("sum", None),
        ("any", None),
        ("sums", "[1]"),
        ("sums", '{"a": "1"}'),
        ("sums", '{"a": null}'),
        ("sums", '{"a": 1'),
        ("sums", 5),
        ("sums", '{"a": 1e999}'),
        ("top 2 by id asc", '{"id": 1}'),
        ("top 2 by id asc", "[1]"),
        ("top 2 by id asc", '[{"at": 1}]'),
        ("top 2 by id asc", '[{"id": null}]'),
        ("top 2 by id asc", 7),
        ("sql", NAN),
        ("sql", timedelta(1)),
        ("sql", [NAN]),
    ],
)
def test_a_value_that_its_roll_up_cannot_use_is_refused_by_measure(how: str, value: object) -> None:
    with pytest.raises(InvalidRows, match=r"^measure: .*\(node 1\)$") as refusal:
        of_pair({"measure": how}, {"measure": value}, {"measure": value})
    assert refusal.value.measure == "measure"


def test_what_the_query_reckons_itself_is_taken_as_it_is_and_is_nobodys_own() -> None:
    totals = of_pair({"median": "sql", "n": "sum"}, {"median": Decimal("2.5"), "n": 3}, {"median": 9, "n": 1})
    assert totals == Totals({"n": 3}, {"median": 2.5, "n": 4})
    assert of_pair({"shares": "sql"}, {"shares": [Decimal("0.5"), None]}, {"shares": None}).total == {
        "shares": [0.5, None]
    }


def test_a_leafs_own_measures_leave_out_what_the_query_reckons_itself() -> None:
    rows = [{"node": 2, "median": 7, "n": 1}]
    totals = roll_up(rows, scope="node", rollup={"median": "sql", "n": "sum"}, tree=PAIR)
    assert totals[2] == Totals({"n": 1}, {"median": 7, "n": 1})
    assert totals[1] == Totals({"n": 0}, {"median": None, "n": 1})


def test_sums_are_shown_in_the_order_of_their_keys_however_they_came() -> None:
    one, other = of_pair({"a": "sums"}, {"a": '{"z": 1, "b": 2}'}, {"a": '{"m": 3, "a": 4}'}), '{"z": 1}'
    assert list(one.own["a"]) == ["b", "z"]  # type: ignore[call-overload]
    assert list(one.total["a"]) == ["a", "b", "m", "z"]  # type: ignore[call-overload]
    same = of_pair({"a": "sums"}, {"a": other}, {"a": None})
    assert same.total == same.own == {"a": {"z": 1}}


def test_fractions_are_added_in_the_order_of_the_tree() -> None:
    tree = trees([0, 0, 0])
    rows = [{"node": node, "a": value} for node, value in ((1, 0.1), (2, 1e16), (3, -1e16), (4, 0.3))]
    assert roll_up(rows, scope="node", rollup={"a": "sum"}, tree=tree)[1].total == {"a": 0.1 + 1e16 - 1e16 + 0.3}


def test_rolling_up_changes_no_nodes_values_through_anothers() -> None:
    tree = trees([0, 1, 1])
    rows = [{"node": node, "a": f'{{"x": {node}}}'} for node in (2, 3, 4)]
    totals = roll_up(rows, scope="node", rollup={"a": "sums"}, tree=tree)
    assert [totals[node].own["a"] for node in (1, 2, 3, 4)] == [{}, {"x": 2}, {"x": 3}, {"x": 4}]
    assert [totals[node].total["a"] for node in (1, 2, 3, 4)] == [{"x": 9}, {"x": 9}, {"x": 3}, {"x": 4}]


def test_rows_that_tie_are_told_apart_by_all_that_is_in_them() -> None:
    one, other = '[{"at": 1, "id": 2}]', '[{"at": 1, "id": 1}]'
    rules = {"a": "top 1 by at asc"}
    assert of_pair(rules, {"a": one}, {"a": other}) != of_pair(rules, {"a": other}, {"a": one})
    assert of_pair(rules, {"a": one}, {"a": other}).total == of_pair(rules, {"a": other}, {"a": one}).total


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"node": 1, "a": 1}, {"node": 1, "a": 1}], "node 1 occurs twice"),
        ([{"node": 9, "a": 1}], "node 9 is not in the tree"),
        ([{"node": None, "a": 1}], "node null is not in the tree"),
        ([{"node": 1}], "no column 'a'"),
        ([{"a": 1}], "no column 'node'"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InvalidRows, match=words):
        roll_up(rows, scope="node", rollup={"a": "sum"}, tree=PAIR)
