"""Queries for some nodes only: what a report's file declares for them, and the two texts of its query.

    -- [nodes]
    -- "shop.orders" = "shop_id"         # a row counts for the shop in this column, and for no other
    ...
    WHERE shop_id = ANY(:nodes)

For some nodes, the query has their ids in ``:nodes``; the whole computation has ``IS NOT NULL`` in place of
``= ANY(:nodes)``, so that it is one text with two uses and reads no list of all ids.
"""

import re
from collections.abc import Collection, Mapping

from reports.front_matter import HeadPlace, HeadTable, ReportError

NODES = "nodes"
"""Name of the parameter with the ids."""
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}\Z")
_SILENT = r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'[^']*'"""
_CAST = r"(?:\s*::\s*[\w.]+(?:[ ]\w+)*(?:\(\d+\))?\s*\[\s*\])?"
_USES = re.compile(
    rf"""{_SILENT}|"[^"]*"|(?P<asked>(?<![-+*/<>=~!@#%^&|`?])=\s*(?i:any)\s*\(\s*:nodes\b{_CAST}\s*\))"""
    r"|(?P<other>(?<![:\w]):nodes\b)",
    re.DOTALL,
)
"""Pattern of a use of ``:nodes``; comments, strings and quoted names come first, so that they are skipped."""


def read_node_columns(table: HeadTable, sources: Collection[str], tree: str) -> Mapping[str, str]:
    """Return the column with the node for which a row counts, by source.

    Args:
        table: the table ``[nodes]`` of the head.
        tree: query of the tree.

    Raises:
        ReportError: a table that is not a source or that the tree reads, or a name that is not a column.
    """
    for source, column in table.values.items():
        if isinstance(column, dict):
            raise table.error_at(source, f'must be in quotes with its schema, "{source}.{next(iter(column), "")}"')
        if source not in sources:
            raise table.error_at(source, "is not among sources; add it there, or remove it here")
        if not _COLUMN.match(table.text(source)):
            raise table.error_at(source, f"{column!r} must be the name of a column of {source}")
        if _has_word(tree, source.rpartition(".")[2]):
            raise table.error_at(
                source, "is named by the tree's query, and a change of the tree may change every node; remove it"
            )
    return dict(table.values)


def _has_word(sql: str, word: str) -> bool:
    silent = re.sub(_SILENT, " ", sql, flags=re.DOTALL)
    return re.search(rf"(?<![\w$]){re.escape(word)}(?![\w$])", silent, re.IGNORECASE) is not None


def find_nodes(query: str, place: HeadPlace) -> ReportError | None:
    """Return the error of the first use of ``:nodes``, for queries that cannot have it; None if there is none."""
    used = next((match for match in _USES.finditer(query) if match.lastgroup), None)
    reason = "needs the table [nodes]: the column of each source that names the node; or leave out = ANY(:nodes)"
    return None if used is None else _error_at(place, query, used, reason)


def names_nodes(query: str, place: HeadPlace) -> bool:
    """Return True if a query can be run for some nodes.

    >>> names_nodes("SELECT id FROM t WHERE id = ANY(:nodes)", HeadPlace()), names_nodes("SELECT 1", HeadPlace())
    (True, False)

    Raises:
        ReportError: it uses ``:nodes`` in another way.
    """
    uses = [match for match in _USES.finditer(query) if match.lastgroup]
    for match in uses:
        if match["other"]:
            reason = "is allowed only as = ANY(:nodes); write WHERE node_id = ANY(:nodes), with the node's column"
            raise _error_at(place, query, match, reason)
    return bool(uses)


def without_nodes(query: str) -> str:
    """Return the query for all nodes; its lines stay where they are.

    >>> without_nodes("SELECT id FROM t WHERE id = ANY (:nodes::bigint[]) AND open")
    'SELECT id FROM t WHERE id IS NOT NULL AND open'
    """
    return _USES.sub(lambda match: _is_not_null(query, match) if match["asked"] else match[0], query)


def _is_not_null(query: str, match: re.Match[str]) -> str:
    before = "" if query[: match.start()][-1:].isspace() else " "
    after = " " if re.match(r"\w", query[match.end() :]) else ""
    return f"{before}IS NOT NULL{after}" + "\n" * match[0].count("\n")


def _error_at(place: HeadPlace, query: str, match: re.Match[str], reason: str) -> ReportError:
    within = match.start() + match[0].find(":nodes")
    line = place.query + query[:within].count("\n")
    return ReportError(f"{place.file}:{line}: :{NODES}", reason)
