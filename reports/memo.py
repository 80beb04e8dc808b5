"""What a process remembers of the last refreshes, so that what has not changed is not reckoned again.

A board is refreshed as a whole when any of its tables was written to, and most of its reports find the rows that
they found before. Documents follow from the tree and the rows alone: of equal ones the ETags are known, and where
the stored set has the same there is nothing to write.

What can go wrong: nothing is taken for granted, rows are compared with rows. It costs the memory of one result of
each query.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from reports.document import Document
from reports.tree import Tree

_MOST_COLUMNS = 1000
"""Descriptions kept; a process has one for each declared query."""

_SLICE = 500
"""Rows compared in one go, in well under a millisecond."""

Rows = Sequence[Mapping[str, Any]]


class RefreshMemo:
    """Of one process and tenant."""

    def __init__(self) -> None:
        self._trees: dict[str, tuple[Rows, Tree]] = {}
        self._etags: dict[str, tuple[Tree, Rows, Mapping[int, str]]] = {}
        self._columns: dict[tuple[int, str], Any] = {}

    def known_tree(self, query: str, rows: Rows) -> Tree | None:
        """The last tree of the query, if it was grown from equal rows."""
        known = self._trees.get(query)
        return known[1] if known is not None and _are_equal(known[0], rows) else None

    def tree(self, query: str, rows: Rows, grow: Callable[[Rows], Tree]) -> Tree:
        """The tree of these rows; the very one that was grown from equal rows, if that was the last.

        Raises:
            InvalidTree: as ``grow``.
        """
        known = self.known_tree(query, rows)
        if known is None:
            known = grow(rows)
            self._trees[query] = rows, known
        return known

    def columns(self, process: int, query: str) -> Any | None:  # noqa: ANN401  the driver's description
        """What a query returns and takes, as a process of the server described it; None: not known."""
        return self._columns.get((process, query))

    def note_columns(self, process: int, query: str, described: Any | None) -> None:  # noqa: ANN401  as above
        """Keep a description, or forget it (None). Each new connection is another process: begin anew at times."""
        if len(self._columns) >= _MOST_COLUMNS:
            self._columns.clear()
        if described is None:
            self._columns.pop((process, query), None)
        else:
            self._columns[process, query] = described

    def documents(
        self, report: str, tree: Tree, rows: Rows, write: Callable[[], Mapping[int, Document]]
    ) -> Mapping[int, Document]:
        """The documents of these rows; where their ETags are known, written when the first is asked for.

        Args:
            write: what writes them; must depend on nothing but tree, rows and the instant.
        """
        known = self._etags.get(report)
        if (
            known is not None
            and known[0] is tree
            and _are_equal(known[1], rows)
            and _have_the_same_digits(known[1], rows)
        ):
            return LazyDocuments(known[2], write)
        documents = write()
        self._etags[report] = tree, rows, {scope: one.etag for scope, one in documents.items()}
        return documents


def _are_equal(former: Rows, rows: Rows) -> bool:
    """Whether rows are equal; in slices, between which other threads have their turn."""
    return len(former) == len(rows) and all(
        former[at : at + _SLICE] == rows[at : at + _SLICE] for at in range(0, len(rows), _SLICE)
    )


def _are_written_alike(former: Rows, rows: Rows) -> bool:
    return _are_equal(former, rows) and _have_the_same_digits(former, rows)


def _have_the_same_digits(former: Rows, rows: Rows) -> bool:
    """Whether decimals of equal rows are written alike: 1.5 and 1.50 are equal, and their documents differ."""
    names = former[0].keys() if former else ()
    return all(
        [str(row[name]) for row in former] == [str(row[name]) for row in rows]
        for name in names
        if _is_decimal(next((row[name] for row in former if row[name] is not None), None))
    )


def _is_decimal(value: object) -> bool:
    return isinstance(value, Decimal) or (isinstance(value, list) and Decimal in set(map(type, value)))


class LazyDocuments(Mapping[int, Document]):
    """Documents whose ETags are known: they are written when the first is asked for.

    Attributes:
        etags: by scope.
    """

    def __init__(self, etags: Mapping[int, str], write: Callable[[], Mapping[int, Document]]) -> None:
        self.etags = etags
        self._write = write
        self._written: Mapping[int, Document] | None = None

    def __getitem__(self, scope: int) -> Document:
        if self._written is None:
            self._written = self._write()
        return self._written[scope]

    def __iter__(self) -> Iterator[int]:
        return iter(self.etags)

    def __len__(self) -> int:
        return len(self.etags)


def etags_of(documents: Mapping[int, Document]) -> Mapping[int, str]:
    """By scope; nothing is written for it."""
    if isinstance(documents, LazyDocuments):
        return documents.etags
    return {scope: document.etag for scope, document in documents.items()}
