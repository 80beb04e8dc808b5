"""Notes on what a report leaves out by the rules of its tree, and on nodes without a name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from reports.columns import JSON
from reports.tree import Tree
from reports.tree_rules import TreeRules

_SOME = 3


def tree_notes(tree: Tree, rows: Sequence[Mapping[str, Any]], scope: str) -> tuple[str, ...]:
    """Return sentences about nodes and rows that do not count, and about nodes that are shown by their id.

    Args:
        rows: the report's direct rows.
        scope: their column with the node's id.
    """
    return tuple(_notes(tree, [row[scope] for row in rows if scope in row]))


def unread_notes(columns: Mapping[str, str], rules: TreeRules) -> tuple[str, ...]:
    """Return sentences about what a tree's query returns, or its head declares, without effect.

    Args:
        columns: Postgres types of the tree's columns by name.

    >>> unread_notes({"id": "int8", "name": "jsonb", "path": "text"}, TreeRules(languages=("es",)))
    ()
    """
    found = []
    if "deleted" in columns and not rules.orphans:
        found.append("the tree's column deleted is not read, and deleted nodes count; declare orphans in its head")
    if rules.languages and columns.get("name", "jsonb") not in JSON:
        found.append(f"the tree declares languages, but name is {columns['name']} and the same in all of them")
    if rules.separator and "path" not in columns:
        found.append("the tree declares a separator, but returns no path")
    return tuple(found)


def _notes(tree: Tree, scopes: Sequence[Any]) -> Iterator[str]:
    if tree.left_out:
        told = "nodes are deleted or left out by the tree's rule for orphans"
        yield f"{len(tree.left_out)} {told}{_like(tree.left_out)}"
    shown = {str(scope) if isinstance(scope, UUID) else scope for scope in scopes}
    if outside := {one for one in shown - tree.nodes.keys() if one is not None and tree.leaves_out(one)}:
        yield f"rows of {len(outside)} nodes do not count, because these are not in the tree{_like(outside)}"
    if 1 < len(tree.nodes) == len(tree.roots):
        yield f"no node has a parent: all {len(tree.nodes)} are roots; check parent_id, or the separator of path"
    if nameless := [node.id for node in tree.nodes.values() if node.name == str(node.id)]:
        yield f"{len(nameless)} nodes have no name and are shown by their id{_like(nameless)}"


def _like(ids: Any) -> str:  # noqa: ANN401  a collection of ids
    return f", like {', '.join(sorted(map(str, ids))[:_SOME])}"
