"""Memory of the last refreshes of a process, so that unchanged results are not computed again.

When any table of a board was written to, all its reports are refreshed, and most return the same rows as before.
Documents follow from the tree and the rows alone: equal rows have known ETags, and if the stored set has the same
ETags there is nothing to write.

The memory is exact, because rows are compared with rows. It costs the memory of one result of each query.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from reports.document import Document
from reports.last_set import ChangedDocuments, LastSet
from reports.node_ids import NodeId
from reports.tree import Tree
from reports.tree_rules import TreeRules

_MOST_COLUMNS = 1000
"""Largest number of descriptions stored; a server process has one for each declared query."""

_SLICE = 500
"""Rows compared at a time, in well under a millisecond."""

Rows = Sequence[Mapping[str, Any]]
TreeQuery = tuple[str, TreeRules]
"""Query of a tree, and the rules by which its rows form a tree."""


class RefreshMemo:
    """Results of the last refreshes of one process and tenant."""

    def __init__(self) -> None:
        self._trees: dict[TreeQuery, tuple[Rows, Tree]] = {}
        self._etags: dict[str, tuple[Tree, Rows, Mapping[NodeId, str]]] = {}
        self._columns: dict[tuple[int, str], Any] = {}
        self._catalogues: dict[str, str | None] = {}
        self._last: dict[str, LastSet] = {}
        self._distrusted: dict[str, datetime] = {}

    def take_last(self, report: str) -> LastSet | None:
        """Remove and return the report's last set, since a refresh changes it in place."""
        return self._last.pop(report, None)

    def is_reached(self, reports: Sequence[str], now: datetime) -> bool:
        """Return True if time has changed rows of one of these reports since its last set."""
        return any(last.deadlines.is_reached(now) for name in reports if (last := self._last.get(name)))

    def distrust(self, report: str, at: datetime) -> None:
        """Note that the report's query for some nodes failed."""
        self._distrusted[report] = at

    def distrusted(self, report: str) -> datetime | None:
        """Return when the report's query for some nodes failed last; None: it did not."""
        return self._distrusted.get(report)

    def keep_last(self, last: LastSet) -> None:
        """Keep a set that is stored, and whose transaction is committed."""
        self._last[last.report.name] = last

    def known_tree(self, query: TreeQuery, rows: Rows) -> Tree | None:
        """Return the last tree of the query if it was built from equal rows."""
        known = self._trees.get(query)
        return known[1] if known is not None and _are_equal(known[0], rows) else None

    def tree(self, query: TreeQuery, rows: Rows, grow: Callable[[Rows], Tree]) -> Tree:
        """Return the tree of these rows; the same object as last time if the rows are equal.

        Raises:
            InvalidTree: raised by ``grow``.
        """
        known = self.known_tree(query, rows)
        if known is None:
            known = grow(rows)
            self._trees[query] = rows, known
        return known

    def columns(self, process: int, query: str) -> Any | None:  # noqa: ANN401  the driver's description
        """Return the columns and parameters of a query as a server process described them; None if not known."""
        return self._columns.get((process, query))

    def note_columns(self, process: int, query: str, described: Any | None) -> None:  # noqa: ANN401  as above
        """Store a description, or remove it (None).

        At a limit all are cleared, since each new connection is another process.
        """
        if len(self._columns) >= _MOST_COLUMNS:
            self._columns.clear()
        if described is None:
            self._columns.pop((process, query), None)
        else:
            self._columns[process, query] = described

    def forget_columns(self) -> None:
        """Remove all descriptions."""
        self._columns.clear()

    def forget_results(self) -> None:
        """Remove all trees and ETags: once column types change, equal rows may look different."""
        self._trees.clear()
        self._etags.clear()

    def knows_catalogue(self, board: str, digest: str | None) -> bool:
        """Store the catalogue's digest of a board; return True if it is the one that was stored before.

        Args:
            digest: None: not known, and never equal to another.
        """
        former, self._catalogues[board] = self._catalogues.get(board), digest
        return digest is not None and digest == former

    def documents(
        self, report: str, tree: Tree, rows: Rows, write: Callable[[], Mapping[NodeId, Document]]
    ) -> Mapping[NodeId, Document]:
        """Return the documents of these rows; if their ETags are known, they are written on first access.

        Args:
            write: function that writes them; must depend on nothing but tree, rows and the instant.
        """
        known = self._etags.get(report)
        if (
            known is not None
            and known[0] is tree
            and _are_equal(known[1], rows)
            and _are_shown_alike(known[1], rows)
        ):
            return LazyDocuments(known[2], write)
        documents = write()
        self._etags[report] = tree, rows, {scope: one.etag for scope, one in documents.items()}
        return documents


def _are_equal(former: Rows, rows: Rows) -> bool:
    """Return True if the rows are equal; compares in slices so that other threads can run in between."""
    return len(former) == len(rows) and all(
        former[at : at + _SLICE] == rows[at : at + _SLICE] for at in range(0, len(rows), _SLICE)
    )


def _are_shown_alike(former: Rows, rows: Rows) -> bool:
    """Return True if equal rows have the same names, types and digits: in Python, 1 equals true and 1.00."""
    if not former:
        return True
    names = list(former[0].keys())
    if names != list(rows[0].keys()):
        return False
    return all(
        (of_type := _type_in(former, name)) == _type_in(rows, name)
        and (Decimal not in of_type or _texts(former, name) == _texts(rows, name))
        for name in names
    )


def _type_in(rows: Rows, name: str) -> frozenset[type]:
    """Return the types of a column's first value that has any."""
    value = next((row[name] for row in rows if row[name] is not None and row[name] != []), None)
    return frozenset(map(type, value)) | {list} if isinstance(value, list) else frozenset({type(value)})


def _texts(rows: Rows, name: str) -> list[str]:
    return [str(row[name]) for row in rows]


class LazyDocuments(Mapping[NodeId, Document]):
    """Documents whose ETags are known, and which are written on first access.

    Attributes:
        etags: by scope.
    """

    def __init__(self, etags: Mapping[NodeId, str], write: Callable[[], Mapping[NodeId, Document]]) -> None:
        self.etags = etags
        self._write = write
        self._written: Mapping[NodeId, Document] | None = None

    def __getitem__(self, scope: NodeId) -> Document:
        if self._written is None:
            self._written = self._write()
        return self._written[scope]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self.etags)

    def __len__(self) -> int:
        return len(self.etags)


def etags_of(documents: Mapping[NodeId, Document]) -> Mapping[NodeId, str]:
    """Return the ETags by scope, without writing any document."""
    if isinstance(documents, LazyDocuments):
        return documents.etags
    if isinstance(documents, ChangedDocuments):
        return documents.last.etags
    return {scope: document.etag for scope, document in documents.items()}
