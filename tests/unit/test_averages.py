"""Averages with their weights equal the average over all rows of a subtree, found by gathering them."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from reports.node_ids import NodeId
from reports.rollup import InvalidRows, roll_up
from reports.tree import Node, Tree, grow_tree
from worker.reports.audit import compute_measures

ROLLUP = {"people": "sum", "age": "avg by people"}


def tree_of(parents: list[int]) -> Tree:
    below = [Node(place + 2, parent % (place + 1) + 1, "", "") for place, parent in enumerate(parents)]
    return grow_tree([Node(1, None, "", ""), *below])


def below(tree: Tree, node: NodeId) -> list[NodeId]:
    return [node, *(one for child in tree.children[node] for one in below(tree, child))]


@given(st.lists(st.integers(0, 50), max_size=7), st.data(), st.sampled_from([float, Decimal]))
def test_the_average_of_a_subtree_is_that_of_all_its_people(
    parents: list[int], data: st.DataObject, form: Any
) -> None:
    tree = tree_of(parents)
    ages = {node: data.draw(st.lists(st.integers(16, 80), max_size=4)) for node in tree.nodes}
    rows = [
        {"node": node, "people": len(one), "age": form(sum(one)) / len(one) if one else None}
        for node, one in ages.items()
    ]
    totals = roll_up(rows, scope="node", rollup=ROLLUP, tree=tree)
    for node in tree.nodes:
        everyone = [age for one in below(tree, node) for age in ages[one]]
        shown: Any = totals[node].total["age"]
        if not everyone:
            assert shown is None
        else:
            assert math.isclose(shown, Fraction(sum(everyone), len(everyone)), rel_tol=1e-12)
        slow = compute_measures([row for row in rows if row["node"] in below(tree, node)], ROLLUP)
        assert slow["age"] == (None if shown is None else pytest.approx(shown, rel=1e-9))


def test_a_node_without_weight_has_no_average_and_null_needs_the_weight_0() -> None:
    tree = tree_of([0])
    rows: list[dict[str, Any]] = [
        {"node": 1, "people": 0, "age": 40},
        {"node": 2, "people": 2, "age": Decimal("0.1")},
    ]
    totals = roll_up(rows, scope="node", rollup=ROLLUP, tree=tree)
    assert (totals[1].own["age"], totals[1].total["age"], totals[2].total["age"]) == (None, 0.1, 0.1)
    with pytest.raises(InvalidRows, match=r"age: NULL has a weight of 2.*\(node 2\)"):
        roll_up([{"node": 2, "people": 2, "age": None}], scope="node", rollup=ROLLUP, tree=tree)
    with pytest.raises(InvalidRows, match=r"age: has a weight of -1; weights must be 0 or more.*\(node 2\)"):
        roll_up([{"node": 2, "people": -1, "age": 5}], scope="node", rollup=ROLLUP, tree=tree)
    with pytest.raises(InvalidRows, match=r"age: NaN is not a finite number"):
        roll_up([{"node": 2, "people": 2, "age": Decimal("NaN")}], scope="node", rollup=ROLLUP, tree=tree)
