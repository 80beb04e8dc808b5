"""Trees from rows of each kind equal the drawn tree, as a walk up from each node finds it by brute force."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from reports.node_ids import IdKind
from reports.rollup import InvalidRows, roll_up
from reports.tree import InvalidTree, Tree
from reports.tree_rows import tree_of_rows
from reports.tree_rules import HANG, LEAVE_OUT, ONE_ROOT, REFUSE, TreeRules

TYPES = {"id": "int8", "parent_id": "int8", "name": "text", "kind": "text"}
Parents = Mapping[int, int | None]
IDS: Mapping[IdKind, Callable[[int], Any]] = {
    IdKind.INTEGER: lambda number: number,
    IdKind.UUID: lambda number: UUID(int=number * 7919),
    IdKind.TEXT: lambda number: f"n-{number}",
}


@st.composite
def forests(draw: st.DrawFn) -> dict[int, int | None]:
    """Node ids with their parents; parents are neither first nor smaller, and there may be several roots."""
    ids = draw(st.lists(st.integers(1, 999), min_size=1, max_size=14, unique=True))
    above = [draw(st.none() | st.sampled_from(ids[:place])) if place else None for place in range(len(ids))]
    return dict(draw(st.permutations(list(zip(ids, above, strict=True)))))


def path_to(node: int, parents: Parents) -> list[int]:
    parent = parents[node]
    return [*([] if parent is None else path_to(parent, parents)), node]


def rows_of(parents: Parents, ids: Any, by: str, deleted: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Rows of a tree's query, with one of the ways to store parents."""
    rows = []
    for node, parent in parents.items():
        path = path_to(node, parents)
        ways: dict[str, dict[str, Any]] = {
            "parent_id": {"parent_id": None if parent is None else ids(parent)},
            "path": {"path": "/".join(map(str, path)) + "/"},
            "ltree": {"path": ".".join(map(str, path))},
            "ancestors": {"ancestors": [ids(one) for one in reversed(path)]},
        }
        rows.append({"id": ids(node), "name": f"N{node}", "kind": None, "deleted": node in deleted, **ways[by]})
    return rows


def grown(rows: list[dict[str, Any]], by: str = "parent_id", rules: TreeRules = ONE_ROOT) -> Tree:
    columns = {name: {"deleted": "bool", "ancestors": "text[]"}.get(name, "text") for name in rows[0]}
    return tree_of_rows(rows, columns | ({"path": "ltree"} if by == "ltree" else {}), rules)


@settings(deadline=None, max_examples=60)
@given(forests(), st.sampled_from(list(IDS)), st.sampled_from(["parent_id", "path", "ltree", "ancestors"]))
def test_every_way_to_store_a_tree_gives_the_paths_that_a_walk_up_finds(
    parents: dict[int, int | None], kind: IdKind, by: str
) -> None:
    def shown(node: int) -> Any:
        made = IDS[kind](node)
        return str(made) if isinstance(made, UUID) else made

    tree = grown(rows_of(parents, IDS[kind], by), by, TreeRules(several_roots=True))
    assert tree.kind is kind
    assert tree.paths == {shown(node): [shown(one) for one in path_to(node, parents)] for node in parents}
    assert tree.roots == sorted(shown(node) for node, parent in parents.items() if parent is None)


def living_parent(node: int, parents: Parents, deleted: set[int]) -> int | None:
    above = parents[node]
    return living_parent(above, parents, deleted) if above in deleted and above is not None else above


@settings(deadline=None, max_examples=80)
@given(
    forests(),
    st.data(),
    st.sampled_from(["parent_id", "path", "ancestors", "path filtered", "ancestors filtered"]),
)
def test_deleted_nodes_are_treated_as_the_tree_declares(
    parents: dict[int, int | None], data: st.DataObject, how: str
) -> None:
    by, _, filtered = how.partition(" ")
    deleted = set(data.draw(st.lists(st.sampled_from(sorted(parents)), unique=True, max_size=len(parents) - 1)))
    rows = rows_of(parents, IDS[IdKind.INTEGER], by, sorted(deleted))
    if filtered:  # a path and a closure name ancestors that the query leaves out
        rows = [row for row in rows if not row["deleted"]]
    living = sorted(parents.keys() - deleted)
    orphans = [node for node in living if parents[node] in deleted]
    hung = grown(rows, by, TreeRules(several_roots=True, orphans=HANG))
    assert {node: path[-2] if len(path) > 1 else None for node, path in hung.paths.items()} == {
        node: living_parent(node, parents, deleted) for node in living
    }
    kept = [node for node in living if not deleted.intersection(path_to(node, parents))]
    if kept:
        left = grown(rows, by, TreeRules(several_roots=True, orphans=LEAVE_OUT))
        assert left.paths == {node: path_to(node, parents) for node in kept}
    strict = TreeRules(several_roots=True, orphans=REFUSE)
    if not orphans:
        assert sorted(grown(rows, by, strict).nodes) == living
        return
    with pytest.raises(InvalidTree, match=rf"node ({'|'.join(map(str, orphans))}) has the parent"):
        grown(rows, by, strict)


def test_rows_of_nodes_that_are_left_out_do_not_count_and_of_unknown_nodes_are_refused() -> None:
    rows = rows_of({1: None, 2: 1, 3: 2}, IDS[IdKind.INTEGER], "parent_id", [2])
    tree = grown(rows, rules=TreeRules(orphans=HANG))
    counted = [{"node": node, "n": 10**node} for node in (1, 2, 3)]
    totals = roll_up(counted, scope="node", rollup={"n": "sum"}, tree=tree)
    assert {node: one.total["n"] for node, one in totals.items()} == {1: 1010, 3: 1000}
    with pytest.raises(InvalidRows, match="node 9 is not in the tree"):
        roll_up([*counted, {"node": 9, "n": 1}], scope="node", rollup={"n": "sum"}, tree=tree)
    with pytest.raises(InvalidRows, match="node null is not in the tree"):
        roll_up(
            [{"node": None, "n": 1}],
            scope="node",
            rollup={"n": "sum"},
            tree=grown(rows, rules=TreeRules(orphans=LEAVE_OUT)),
        )


def test_a_parent_that_no_row_shows_says_to_return_deleted_nodes_too() -> None:
    rows = [one(parent_id=None), one(id=2, parent_id=7)]
    with pytest.raises(
        InvalidTree, match=r"node 2 has the parent 7, which the query does not return; return deleted"
    ):
        grown(rows, rules=TreeRules(orphans=HANG))


def one(**values: Any) -> dict[str, Any]:
    return {"id": 1, "name": "x", "kind": None, **values}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([one(parent_id=None), one(id=None, parent_id=1)], "id: is null in a row"),
        ([one(parent_id=None), one(id=2, parent_id="1")], "parent_id: is text, but id is integer"),
        ([one(id="a/b", parent_id=None)], "id: 'a/b' contains '/'"),
        ([one(path="1"), one(id=2, path="1//2")], "path of node 2 has an empty label, '1//2'"),
        ([one(path="")], "path of node 1 has an empty label"),
        ([one(path=None)], "path of node 1 is null"),
        ([one(path="1"), one(id=2, path="/1/")], "path: '1' is the path of two nodes, 1 and 2"),
        ([one(ancestors=[2]), one(id=2, ancestors=[1])], "1 and 2 are each other's ancestors, a cycle"),
        (
            [one(ancestors=[]), one(id=2, ancestors=[]), one(id=3, ancestors=[1, 2])],
            "node 3 is below 2, and 1 is an ancestor of only one of them",
        ),
        ([one(ancestors=["a"])], "ancestors: are text, but id is integer"),
        ([one()], "the query has no column 'parent_id'"),
    ],
)
def test_rows_that_are_no_tree_are_refused_with_the_column_and_the_node(
    rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(InvalidTree, match=words.replace("(", r"\(")):
        grown(rows)


def test_ancestors_that_are_no_array_and_unknown_deletions_are_refused_by_column() -> None:
    for of_type in ("jsonb", "text"):  # a text would be read letter by letter
        columns = {"id": "text", "ancestors": of_type, "name": "text", "kind": "text"}
        with pytest.raises(InvalidTree, match=f"ancestors: is {of_type} and must be an array"):
            tree_of_rows([one(id="b", ancestors="a")], columns, ONE_ROOT)
    rows = [one(parent_id=None, deleted=None), one(id=2, parent_id=1, deleted=None)]
    with pytest.raises(InvalidTree, match=r"deleted: is null for nodes 1, 2; return true or false"):
        grown(rows, rules=TreeRules(orphans=HANG))
    assert len(grown(rows).nodes) == 1 + 1  # the column is not read unless orphans are declared


def named(*values: Any, languages: tuple[str, ...] = ("es", "en")) -> list[Any]:
    rows = [
        {"id": number, "parent_id": None, "name": value, "kind": None} for number, value in enumerate(values, 1)
    ]
    tree = tree_of_rows(rows, TYPES | {"name": "jsonb"}, TreeRules(several_roots=True, languages=languages))
    return [(node.name, node.names) for node in tree.nodes.values()]


def test_a_name_is_shown_in_the_declared_languages_or_in_the_nearest_that_the_database_has() -> None:
    both = '{"en_US": "Sales", "es_ES": "Ventas"}'
    assert named(both, '{"en_US": "Works"}', '{"pt": "Obras"}', '"Plain"', None, "{}") == [
        ("Ventas", {"es": "Ventas", "en": "Sales"}),
        ("Works", {"es": "Works", "en": "Works"}),
        ("Obras", {"es": "Obras", "en": "Obras"}),
        ("Plain", {"es": "Plain", "en": "Plain"}),
        ("5", {"es": "5", "en": "5"}),
        ("6", {"es": "6", "en": "6"}),
    ]


def test_the_case_of_a_language_makes_no_difference() -> None:
    assert named('{"EN": "Sales", "ES_es": "Ventas"}') == [("Ventas", {"es": "Ventas", "en": "Sales"})]
    assert named('{"PT_br": "Obras", "pt": "Trabalhos"}', languages=("pt-BR",)) == [("Obras", {"pt-BR": "Obras"})]


def test_a_name_that_is_null_is_the_id_and_names_of_other_forms_are_refused() -> None:
    rows = [{"id": 7, "parent_id": None, "name": None, "kind": None}]
    assert tree_of_rows(rows, TYPES, TreeRules()).nodes[7].name == "7"
    with pytest.raises(InvalidTree, match=r"name: is jsonb, not text; write languages"):
        named("{}", languages=())
    for value, words in (
        ("[1]", "must be text or an object"),
        *((f'{{"es": {odd}}}', f"{odd}; names by language must be text") for odd in ("1", "0", "false")),
    ):
        with pytest.raises(InvalidTree, match=f"name of node 1 .*{words}"):
            named(value)
