"""A tree is a tree or it is refused, so that a refresh can never count a node twice or not at all."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from reports.tree import InvalidTree, Node, grow_tree
from reports.tree_rules import HANG, LEAVE_OUT, REFUSE, TreeRules


def nodes(*pairs: tuple[Any, Any]) -> list[Node]:
    return [Node(node_id, parent, f"n{node_id}", "area") for node_id, parent in pairs]


@st.composite
def rows(draw: st.DrawFn) -> list[Node]:
    """A random tree with ids in random order, so that parents do not come first and are not the smaller ones."""
    ids = draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=30, unique=True))
    parents = [None, *(ids[draw(st.integers(0, place - 1))] for place in range(1, len(ids)))]
    return draw(st.permutations(nodes(*zip(ids, parents, strict=True))))


@given(rows())
def test_every_node_has_its_path_its_children_and_its_place(given_rows: list[Node]) -> None:
    tree = grow_tree(given_rows)
    parent_of = {node.id: node.parent_id for node in given_rows}
    place = {node_id: at for at, node_id in enumerate(tree.upwards)}
    assert tree.nodes == {node.id: node for node in given_rows}
    assert sorted(tree.upwards) == sorted(parent_of)
    for node_id, parent in parent_of.items():
        above = [] if parent is None else tree.paths[parent]
        assert tree.paths[node_id] == [*above, node_id]
        assert parent is None or place[node_id] < place[parent]
        assert tree.children[node_id] == sorted(child for child, its in parent_of.items() if its == node_id)


@given(rows(), st.data())
def test_the_order_of_the_rows_makes_no_difference(given_rows: list[Node], data: st.DataObject) -> None:
    again = data.draw(st.permutations(given_rows))
    one, other = grow_tree(given_rows), grow_tree(again)
    assert (one.upwards, one.paths, one.children) == (other.upwards, other.paths, other.children)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "the query returned no rows; a tree has at least one node"),
        ([(1, None), (2, None)], r"one root.*\[1, 2\]"),
        ([(1, 2), (2, 1)], "one root.*none"),
        ([(1, 1)], "one root.*none"),
        ([(1, None), (2, 2)], "the nodes 2 -> 2 form a cycle"),
        ([(1, None), (2, 4), (3, 2), (4, 3)], "the nodes 2 -> 4 -> 3 -> 2 form a cycle"),
        ([(1, None), (2, 9)], "node 2 has the parent 9, which the query does not return"),
        ([(1, None), (1, None)], "node 1 occurs twice"),
        ([(1, None), (2, 1), (2, 1)], "node 2 occurs twice"),
    ],
)
def test_what_is_no_tree_is_refused_with_the_nodes_at_fault(pairs: list[tuple[Any, Any]], words: str) -> None:
    with pytest.raises(InvalidTree, match=words):
        grow_tree(nodes(*pairs))


def test_all_faults_of_a_tree_are_told_at_once() -> None:
    of_another_type: Any = 3
    faulty = nodes((1, None), (2, None), (3, 9), (4, 5), (5, 4), (6, 6), (7, 1), (7, 2))
    with pytest.raises(InvalidTree) as refused:
        grow_tree([*faulty, Node(8, 1, "n8", kind=of_another_type)])
    for words in (
        r"nodes without a parent: [1, 2]",
        "node 3 has the parent 9, which the query does not return",
        "the nodes 4 -> 5 -> 4 form a cycle",
        "the nodes 6 -> 6 form a cycle",
        "node 7 occurs twice",
        "node 8 has the kind 3",
    ):
        assert words in str(refused.value)


def test_a_cycle_through_deleted_nodes_is_told_with_all_its_members() -> None:
    rows = [*nodes((1, None), (2, 3)), Node(3, 2, "n3", "area", deleted=True)]
    for orphans in (HANG, LEAVE_OUT, REFUSE):
        with pytest.raises(InvalidTree, match="the nodes 2 -> 3 -> 2 form a cycle"):
            grow_tree(rows, TreeRules(orphans=orphans))


@pytest.mark.parametrize(
    ("deleted", "orphans", "words"),
    [
        ((1,), LEAVE_OUT, r"^no node is left: the roots are deleted or missing, and orphans = \"leave out\""),
        ((1, 2, 3), HANG, r"^all nodes are deleted; a tree has at least one node$"),
        ((1,), REFUSE, r"^node 2 has the parent 1, which is deleted; node 3 has the parent 1, which is deleted$"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_a_tree_whose_root_is_deleted_is_told_as_such(
    deleted: tuple[int, ...], orphans: str, words: str, *, several: bool
) -> None:
    rows = [
        Node(node, parent, f"n{node}", None, deleted=node in deleted)
        for node, parent in ((1, None), (2, 1), (3, 1))
    ]
    with pytest.raises(InvalidTree, match=words):
        grow_tree(rows, TreeRules(several_roots=several, orphans=orphans))


def test_many_faults_of_one_sort_are_counted() -> None:
    with pytest.raises(InvalidTree, match=r"node 6 has the parent 99.*and 93 more like this"):
        grow_tree(nodes((1, None), *((number, 99) for number in range(2, 101) if number != 99)))


def test_several_roots_are_a_tree_if_they_are_declared() -> None:
    forest = grow_tree(nodes((1, None), (5, None), (3, 5)), TreeRules(several_roots=True))
    assert (forest.roots, forest.paths) == ([1, 5], {1: [1], 5: [5], 3: [5, 3]})
    with pytest.raises(InvalidTree, match="the query returned no rows"):
        grow_tree([], TreeRules(several_roots=True))


def test_a_deep_tree_needs_no_deep_stack() -> None:
    depth = 3000
    tree = grow_tree(nodes((1, None), *((number, number - 1) for number in range(2, depth + 1))))
    assert len(tree.paths[depth]) == depth
