"""Computation of a report's set in one database state: of the whole, or of the nodes that changes have named."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from reports import Report
from reports.day import Day, day_around
from reports.deadlines import is_never
from reports.document import Document
from reports.last_set import ChangedDocuments, LastSet, compute_whole, differing_nodes
from reports.node_ids import NodeId, require_same_kind
from reports.off_loop import off_loop
from reports.pace import KnownSet
from reports.refresh_scope import RefreshScope, Why, distrusted_since, refresh_scope
from reports.rollup import InvalidRows, UnaskedNode
from reports.source_postgres import QUERY_FAULTS, DatabaseSnapshot
from reports.sql_words import value_in_sql
from reports.taken_marks import TakenMarks
from reports.tree import Tree
from worker.reports.refresh_context import compute_documents
from worker.tracing import report_span

_QUERY_FAULTS = (UnaskedNode, *QUERY_FAULTS)
"""Errors that the query for some nodes may have where that for all has none."""


@dataclass(frozen=True, slots=True)
class ComputedSet:
    """Set of a report in one state of the database.

    Attributes:
        until: instant at which time itself changes the numbers; None: there is none.
        scope: what was queried.
        former: the set that this worker kept of its last refresh, as it was stored; None: there is none.
        last: what it will keep of this one.
        distrusted: instant since which the report's query for some nodes is not used; None: it is used.
        differing: nodes for which that query disagreed with the whole.
    """

    documents: Mapping[NodeId, Document] = field(repr=False)
    tree: Tree = field(repr=False)
    until: datetime | None
    scope: RefreshScope
    former: LastSet | None = field(default=None, repr=False)
    last: LastSet | None = field(default=None, repr=False)
    distrusted: datetime | None = None
    differing: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class SetComputation:
    """Computation of one report in one state of the database.

    Attributes:
        stored: the set that is stored.
        zone: time zone of the report's days.
    """

    report: Report
    snapshot: DatabaseSnapshot
    stored: KnownSet
    zone: ZoneInfo

    @property
    def day(self) -> Day:
        """Day around the instant of the state."""
        return day_around(self.snapshot.as_of, self.zone)

    async def compute(
        self, marks: TakenMarks | None, digest: str | None, *, asked: bool, whole_every: timedelta
    ) -> ComputedSet:
        """Compute the report's set.

        Args:
            marks: marks that were taken up in this transaction; None: not every change leaves one.
            digest: digest of the catalogue in this state.
            asked: True if a mark, or an instant of a report of the board, is the reason for the refresh.
            whole_every: interval at which the whole is computed as well, and compared.

        Raises:
            InvalidRows, InvalidTree: the rows do not fit the report.
            DATABASE_FAULTS: the database refused a query.
        """
        if not self.report.sql_of_nodes:
            return await self._compute_unkept(Why.DECLARED)
        if marks is None or digest is None:
            return await self._compute_unkept(Why.UNMARKED)
        memo, now = self.snapshot.memo, self.snapshot.as_of
        former = memo.take_last(self.report.name)
        distrusted = distrusted_since(self.report, self.stored, memo.distrusted(self.report.name), now)
        scope = refresh_scope(
            former,
            marks,
            self.stored,
            now=now,
            day=self.day,
            digest=digest,
            every=whole_every,
            asked=asked,
            distrusted=distrusted is not None,
        )
        if former is not None and scope.nodes is not None:
            changed = await self._change(former, scope.nodes)
            if not scope.is_whole:
                return ComputedSet(changed, former.tree, await self._valid_until(former), scope, former, former)
        whole = await self._compute_whole(scope, digest)
        differing = await self._compare(former, whole.documents) if former and scope.is_comparable else ()
        return replace(
            whole,
            former=former if scope.nodes is None else None,  # else it is no longer as it was stored
            distrusted=now if differing else distrusted,
            differing=differing,
        )

    async def _compute_unkept(self, why: Why) -> ComputedSet:
        """Compute the whole, and keep nothing of it but the rows with their ETags."""
        tree = await self._tree()
        documents = await compute_documents(self.snapshot, self.report, now=self.snapshot.as_of, zone=self.zone)
        return ComputedSet(documents, tree, await self._valid_until(), RefreshScope(None, why))

    async def _compute_whole(self, scope: RefreshScope, digest: str) -> ComputedSet:
        """Compute the whole and what is to be kept of it."""
        snapshot = self.snapshot
        with report_span("queries", self.report.name):
            tree = await self._tree()
            rows = await snapshot.rows(self.report, now=snapshot.as_of, day=self.day)
        compute = partial(
            compute_whole,
            self.report,
            tree,
            rows,
            as_of=snapshot.as_of,
            day=self.day,
            digest=digest,
            bounds=snapshot.bounds,
        )
        with report_span("roll-up", self.report.name):
            last, documents = await off_loop(compute, nodes=len(tree.nodes))
        last.xid = snapshot.xid
        return ComputedSet(documents, tree, await self._valid_until(last), scope, last=last)

    async def _change(self, last: LastSet, nodes: frozenset[NodeId]) -> ChangedDocuments:
        """Query some nodes and bring the kept set up to date. Its query is distrusted if it fails by itself."""
        snapshot = self.snapshot
        try:
            with report_span("queries", self.report.name):
                rows = (
                    await snapshot.rows(last.query, now=snapshot.as_of, day=self.day, nodes=nodes) if nodes else []
                )
            change = partial(last.change, rows, nodes, as_of=snapshot.as_of, bounds=snapshot.bounds)
            with report_span("roll-up", self.report.name):
                changed = await off_loop(change, nodes=sum(len(last.tree.paths[node]) for node in nodes))
        except _QUERY_FAULTS:
            snapshot.memo.distrust(self.report.name, snapshot.as_of)
            raise
        last.xid = snapshot.xid
        return changed

    async def _compare(self, kept: LastSet, whole: Mapping[NodeId, Document]) -> tuple[NodeId, ...]:
        """Return the nodes in which the kept set and the whole differ."""
        return tuple(await off_loop(partial(differing_nodes, kept, whole), nodes=len(whole)))

    async def _tree(self) -> Tree:
        """Return the report's tree.

        Raises:
            IdsChanged: its ids are of a different type from those of the stored set.
        """
        tree = await self.snapshot.tree(self.report)
        if self.stored.stored:
            require_same_kind(self.stored.ids, tree.kind)
        return tree

    async def _valid_until(self, last: LastSet | None = None) -> datetime | None:
        """Return the instant at which time itself changes the numbers, and note it; None if there is none.

        Args:
            last: set with the instants of its nodes; None: they are queried.

        Raises:
            InvalidRows: the report's query returned something other than a later instant.
        """
        until: datetime | None = await self._next_instant(last)
        if is_never(until):
            until = None
        elif not isinstance(until, datetime) or until.tzinfo is None or until <= self.snapshot.as_of:
            raise InvalidRows(f"valid_until: {value_in_sql(until)} must be a timestamptz later than :now, or null")
        if last is not None:
            last.valid_until = until
        return until

    async def _next_instant(self, last: LastSet | None) -> Any:  # noqa: ANN401  the query's
        if self.report.next_midnight:
            return self.day.end
        if not self.report.valid_until:
            return None
        if last is not None and self.report.valid_until_column:
            return last.deadlines.earliest
        return await self.snapshot.valid_until(self.report, now=self.snapshot.as_of, day=self.day)
