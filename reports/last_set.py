"""Set of a report as this worker stored it last, kept so that the next one costs only what has changed.

It is changed in place and belongs to one refresh at a time, which takes it out of the memo and gives it back when
what it stored is committed. After an error it is dropped, and the next refresh computes the whole.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from reports import Report
from reports.bounds import ReportBounds
from reports.day import Day
from reports.deadlines import Deadlines
from reports.document import Document, write_documents
from reports.node_ids import NodeId
from reports.rollup import RolledUp, Row, rows_of_tree
from reports.tree import Tree


@dataclass(slots=True, kw_only=True)
class LastSet:
    """Set of a report, with everything that it follows from.

    Attributes:
        query: the report with its query for some nodes.
        day: day for which it was computed.
        digest: digest of the catalogue in its state.
        etags: ETag of every scope.
        sizes: bytes of every scope's body; ``size`` is their sum.
        deadlines: next instants of its nodes, if the report's query returns them.
        whole_at: instant of its latest whole computation.
        as_of: instant for which it was stored last.
        valid_until: instant at which time changes its numbers; None: there is none.
        generation: its generation in Redis; 0: it is not stored.
        gone: scopes that are stored as gone.
        xid: transaction that took up the marks before it.
    """

    report: Report
    query: Report
    tree: Tree
    day: Day
    digest: str
    rolled: RolledUp = field(repr=False)
    etags: dict[NodeId, str] = field(repr=False)
    sizes: dict[NodeId, int] = field(repr=False)
    deadlines: Deadlines = field(repr=False)
    size: int
    whole_at: datetime
    as_of: datetime
    valid_until: datetime | None = None
    generation: int = 0
    gone: frozenset[NodeId] = frozenset()
    xid: int | None = None

    def change(
        self, rows: Sequence[Row], asked: Collection[NodeId], *, as_of: datetime, bounds: ReportBounds
    ) -> "ChangedDocuments":
        """Take over the rows of these nodes, and return the documents that differ from the previous ones.

        Raises:
            InvalidRows: as the whole computation does.
        """
        self._note_deadlines(rows, asked)
        totals = self.rolled.roll_up_again(rows, asked)
        written = write_documents(self.report, self.tree, totals, as_of=as_of, bounds=bounds)
        changed = {node: one for node, one in written.items() if self.etags[node] != one.etag}
        self.etags |= {node: one.etag for node, one in changed.items()}
        for node, one in changed.items():
            self.size += len(one.body) - self.sizes[node]
            self.sizes[node] = len(one.body)
        bounds.require_bytes(self.size)
        return ChangedDocuments(self, changed)

    def note_stored(self, generation: int, as_of: datetime, gone: frozenset[NodeId]) -> None:
        """Note what was stored: the generation, its instant and the scopes that are gone in it."""
        self.generation, self.as_of, self.gone = generation, as_of, gone

    def _note_deadlines(self, rows: Sequence[Row], asked: Collection[NodeId]) -> None:
        column = self.report.valid_until_column
        if not column:
            return
        nodes, counted = rows_of_tree(rows, scope=self.report.scope, tree=self.tree)
        for node in set(asked).difference(nodes):
            self.deadlines.note_instant(node, None)
        note_deadlines(self.deadlines, nodes, counted, column)


def note_deadlines(deadlines: Deadlines, nodes: Sequence[NodeId], rows: Sequence[Row], column: str) -> None:
    """Note the instants in a column. Raises InvalidRows."""
    for node, row in zip(nodes, rows, strict=True):
        deadlines.note_instant(node, row[column])


def compute_whole(
    report: Report,
    tree: Tree,
    rows: Sequence[Row],
    *,
    as_of: datetime,
    day: Day,
    digest: str,
    bounds: ReportBounds,
) -> tuple[LastSet, Mapping[NodeId, Document]]:
    """Compute all documents, and what must be kept to change some of them later.

    Raises:
        InvalidRows: the rows do not fit the report or the tree.
    """
    rolled = RolledUp(scope=report.scope, rollup=report.rollup, tree=tree)
    documents = write_documents(report, tree, rolled.roll_up(rows), as_of=as_of, bounds=bounds)
    deadlines = Deadlines(report.valid_until_column)
    if report.valid_until_column:
        note_deadlines(deadlines, *rows_of_tree(rows, scope=report.scope, tree=tree), report.valid_until_column)
    sizes = {node: len(one.body) for node, one in documents.items()}
    last = LastSet(
        report=report,
        query=query_for_nodes(report),
        tree=tree,
        day=day,
        digest=digest,
        rolled=rolled,
        etags={node: one.etag for node, one in documents.items()},
        sizes=sizes,
        size=sum(sizes.values()),
        deadlines=deadlines,
        whole_at=as_of,
        as_of=as_of,
    )
    return last, documents


def query_for_nodes(report: Report) -> Report:
    """Return the report with its query for some nodes in place of that for all."""
    return replace(
        report, sql=report.sql_of_nodes, parameters=report.sql_of_nodes_parameters, valid_until_column=""
    )


class ChangedDocuments(Mapping[NodeId, Document]):
    """Documents of a set: those that changed were written, and the others are as stored.

    Attributes:
        last: the set after the change.
        changed: the documents that were written.
    """

    def __init__(self, last: LastSet, changed: Mapping[NodeId, Document]) -> None:
        self.last = last
        self.changed = changed

    def __getitem__(self, scope: NodeId) -> Document:
        return self.changed[scope]

    def __contains__(self, scope: object) -> bool:
        return scope in self.last.etags

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self.last.etags)

    def __len__(self) -> int:
        return len(self.last.etags)


def differing_nodes(kept: LastSet, whole: Mapping[NodeId, Document]) -> list[NodeId]:
    """Return the nodes whose documents differ between the kept set and the one computed as a whole."""
    return [node for node, one in whole.items() if kept.etags.get(node) != one.etag]
