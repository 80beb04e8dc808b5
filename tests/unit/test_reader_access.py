"""Who may read which node: the reader's rule against a slow oracle that walks the tree."""

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from reader.access import COOKIE, may_read, roots_of, token_of
from reader.message import HeaderList, Request

trees = st.lists(st.integers(0, 10**6), max_size=30).map(
    lambda picks: [0, *(pick % (child + 1) + 1 for child, pick in enumerate(picks))]
)
"""Node n's parent is tree[n - 1]; node 1 is the top."""


def path_to(tree: Sequence[int], node: int) -> list[int]:
    """From the top of the tree down to the node."""
    return [*path_to(tree, tree[node - 1]), node] if node else []


def subtree(tree: Sequence[int], root: int) -> set[int]:
    """All nodes below a root, itself included, found by going down."""
    children = {child for child, parent in enumerate(tree, start=1) if parent == root}
    return {root}.union(*(subtree(tree, child) for child in children))


@given(tree=trees, roots=st.sets(st.integers(1, 31), max_size=4))
def test_a_manager_reads_the_subtrees_of_their_roots_and_nothing_else(tree: list[int], roots: set[int]) -> None:
    nodes = range(1, len(tree) + 1)
    readable = set().union(*(subtree(tree, root) for root in roots if root in nodes))
    assert {node for node in nodes if may_read(set(map(str, roots)), map(str, path_to(tree, node)))} == readable


@pytest.mark.parametrize(
    ("data", "roots"),
    [
        ({"roots": [1, 2]}, {"1", "2"}),
        ({"roots": ["9223372036854775807", 3]}, {"9223372036854775807", "3"}),
        (
            {"roots": ["ventas", "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55", "_x"]},
            {"ventas", "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55", "_x"},
        ),
        ({"roots": []}, set()),
        ({}, set()),
        ({"roots": "17"}, set()),
        ({"roots": None}, set()),
        ({"roots": {"17": True}}, set()),
        (
            {"roots": [True, None, 1.0, "", "a/b", " 1", "٣", "..", "_meta", "x:y", "1\n", "x" * 65, [1], {}]},
            set(),
        ),
    ],
)
def test_roots_that_are_not_node_ids_open_nothing(data: dict[str, object], roots: set[str]) -> None:
    assert roots_of(data) == roots


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([("authorization", "Bearer abc")], "abc"),
        ([("authorization", "bEARER   abc ")], "abc"),
        ([("cookie", f"{COOKIE}=abc")], "abc"),
        ([("cookie", f"a=1; {COOKIE}=abc; b=2")], "abc"),
        ([("cookie", "a=1"), ("cookie", f"{COOKIE}=abc")], "abc"),
        ([("cookie", f"{COOKIE}=cookie"), ("authorization", "Bearer bearer")], "bearer"),
        ([("authorization", "Basic YTpi"), ("cookie", f"{COOKIE}=abc")], "abc"),
        ([("cookie", f"x{COOKIE}=abc")], None),
        ([("cookie", COOKIE.lower() + "=abc")], None),
        ([("authorization", "Bearer")], None),
        ([("authorization", "Bearer a b")], None),
        ([], None),
    ],
)
def test_the_token_comes_from_the_bearer_or_else_from_the_cookie(
    headers: list[tuple[str, str]], token: str | None
) -> None:
    assert token_of(Request(method="GET", path="/", fields=HeaderList(headers))) == token
