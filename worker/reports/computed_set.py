"""Computation of a report's set in one database state: of the whole, or of the nodes that changes have named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

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
from worker.reports.refresh_context import RefreshContext, compute_documents

_QUERY_FAULTS = (UnaskedNode, *QUERY_FAULTS)
"""Errors that the query for some nodes may have where that for all has none."""


@dataclass(frozen=True, slots=True)
class ComputedSet:
    """Set of a report in one state of the database.

    Attributes:
        until: instant at which time itself changes the numbers; None: there is none.
        scope: what was asked for.
        former: the set that this worker kept of its last refresh, as it was stored; None: none is.
        last: what it is to keep of this one.
        distrusted: instant since which the report's query for some nodes is not used; None: it is.
        differing: nodes of which that query gave something else than the whole.
    """

    documents: Mapping[NodeId, Document] = field(repr=False)
    tree: Tree = field(repr=False)
    until: datetime | None
    scope: RefreshScope
    former: LastSet | None = field(default=None, repr=False)
    last: LastSet | None = field(default=None, repr=False)
    distrusted: datetime | None = None
    differing: tuple[NodeId, ...] = ()


async def compute_set(
    refresher: RefreshContext,
    report: Report,
    snapshot: DatabaseSnapshot,
    *,
    stored: KnownSet,
    marks: TakenMarks | None,
    digest: str | None,
    asked: bool,
) -> ComputedSet:
    """Compute a report's set.

    Args:
        stored: the set that is stored.
        marks: marks that were taken up in this transaction; None: not every change leaves one.
        digest: digest of the catalogue in this state.
        asked: True if a mark, or an instant of a report of the board, is the reason for the refresh.

    Raises:
        InvalidRows, InvalidTree: the rows do not fit the report.
        DATABASE_FAULTS: the database refused a query.
    """
    day = day_around(snapshot.as_of, refresher.zone_of(report))
    if marks is None or digest is None or not report.sql_of_nodes:
        why = Why.UNMARKED if report.sql_of_nodes else Why.DECLARED
        return await _compute_unkept(refresher, report, snapshot, RefreshScope(None, why), stored, day)
    former = snapshot.memo.take_last(report.name)
    distrusted = distrusted_since(report, stored, snapshot.memo.distrusted(report.name), snapshot.as_of)
    scope = refresh_scope(
        former,
        marks,
        stored,
        now=snapshot.as_of,
        day=day,
        digest=digest,
        every=refresher.whole_every,
        asked=asked,
        distrusted=distrusted is not None,
    )
    if former is None or scope.nodes is None:
        return await _compute_whole(report, snapshot, day, digest, scope, stored, former, distrusted)
    changed = await _change(report, snapshot, former, scope.nodes, day)
    if not scope.is_whole:
        until = await _valid_until(snapshot, report, day, former)
        return ComputedSet(changed, former.tree, until, scope, former, former)
    return await _compute_whole(report, snapshot, day, digest, scope, stored, former, distrusted)


async def _compute_unkept(
    refresher: RefreshContext,
    report: Report,
    snapshot: DatabaseSnapshot,
    scope: RefreshScope,
    stored: KnownSet,
    day: Day,
) -> ComputedSet:
    """Compute the whole, and keep nothing of it but the rows with their ETags."""
    tree = await snapshot.tree(report)
    _require_same_ids(stored, tree)
    zone = refresher.zone_of(report)
    documents = await compute_documents(snapshot, report, now=snapshot.as_of, zone=zone)
    return ComputedSet(documents, tree, await _valid_until(snapshot, report, day), scope)


async def _compute_whole(
    report: Report,
    snapshot: DatabaseSnapshot,
    day: Day,
    digest: str,
    scope: RefreshScope,
    stored: KnownSet,
    former: LastSet | None,
    distrusted: datetime | None,
) -> ComputedSet:
    """Compute the whole, keep it, and compare it with what was kept if that is of the same state."""
    tree = await snapshot.tree(report)
    _require_same_ids(stored, tree)
    rows = await snapshot.rows(report, now=snapshot.as_of, day=day)
    compute = partial(
        compute_whole,
        report,
        tree,
        rows,
        as_of=snapshot.as_of,
        day=day,
        digest=digest,
        bounds=snapshot.bounds,
    )
    last, documents = await off_loop(compute, nodes=len(tree.nodes))
    last.xid = snapshot.xid
    until = await _valid_until(snapshot, report, day, last)
    differing: tuple[NodeId, ...] = ()
    if former is not None and scope.is_comparable:
        differing = tuple(await off_loop(partial(differing_nodes, former, documents), nodes=len(tree.nodes)))
    since = snapshot.as_of if differing else distrusted
    as_stored = former if scope.nodes is None else None  # else it has been changed
    return ComputedSet(documents, tree, until, scope, as_stored, last, since, differing)


async def _change(
    report: Report, snapshot: DatabaseSnapshot, last: LastSet, nodes: frozenset[NodeId], day: Day
) -> ChangedDocuments:
    """Ask for some nodes and bring the kept set up to date. Its query is distrusted if it fails by itself."""
    try:
        rows = await snapshot.rows(last.query, now=snapshot.as_of, day=day, nodes=nodes) if nodes else []
        change = partial(last.change, rows, nodes, as_of=snapshot.as_of, bounds=snapshot.bounds)
        changed = await off_loop(change, nodes=sum(len(last.tree.paths[node]) for node in nodes))
    except _QUERY_FAULTS:
        snapshot.memo.distrust(report.name, snapshot.as_of)
        raise
    last.xid = snapshot.xid
    return changed


def _require_same_ids(stored: KnownSet, tree: Tree) -> None:
    if stored.stored:
        require_same_kind(stored.ids, tree.kind)


async def _valid_until(
    snapshot: DatabaseSnapshot, report: Report, day: Day, last: LastSet | None = None
) -> datetime | None:
    """Return the instant at which time itself changes the numbers; None if there is none.

    Args:
        last: set with the instants of its nodes; None: they are asked for.

    Raises:
        InvalidRows: the report's query returned something other than a later instant.
    """
    until = await _instant(snapshot, report, day, last)
    if last is not None:
        last.valid_until = until
    return until


async def _instant(snapshot: DatabaseSnapshot, report: Report, day: Day, last: LastSet | None) -> datetime | None:
    if report.next_midnight:
        return day.end
    if not report.valid_until:
        return None
    if last is not None and report.valid_until_column:
        until = last.deadlines.earliest
    else:
        until = await snapshot.valid_until(report, now=snapshot.as_of, day=day)
    if is_never(until):
        return None
    if not isinstance(until, datetime) or until.tzinfo is None or until <= snapshot.as_of:
        raise InvalidRows(f"valid_until: {value_in_sql(until)} must be a timestamptz later than :now, or null")
    return until
