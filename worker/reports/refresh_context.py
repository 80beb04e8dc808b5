"""Steps that every computation of a report shares: its dependencies, its documents, and storing the set."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from reports import Report
from reports.boards import Board, boards_of
from reports.cost import p95, with_latest
from reports.day import day_around
from reports.document import Document, write_documents
from reports.last_set import ChangedDocuments
from reports.node_ids import NodeId
from reports.off_loop import off_loop
from reports.outbox_postgres import Outbox
from reports.pace import debt_after
from reports.rollup import roll_up
from reports.source_postgres import DatabaseSnapshot, Source
from reports.store import NewSet, ReportStore, StoredSet, set_change
from worker.engine import TryLater
from worker.reports.clocks import Clocks, ahead_of, fence_instant
from worker.tracing import report_span

_PUBLISH_TRIES = 5
_ANOTHER_SET = "report: another worker has stored a set of it in the meantime; the next refresh computes the whole"


@dataclass(frozen=True, slots=True)
class RefreshContext:
    """Dependencies of a refresh.

    Attributes:
        tenant: tenant of these reports.
        reports: declared reports by name.
        zone: time zone whose midnight begins a day.
        outbox: marks of the database, if it has any.
        clocks: clocks of the database and of Redis.
        whole_every: interval at which a report that is computed for some nodes is computed whole and compared.
    """

    tenant: str
    reports: Mapping[str, Report]
    source: Source
    store: ReportStore
    zone: ZoneInfo
    outbox: Outbox | None = None
    clocks: Clocks = field(default_factory=Clocks)
    whole_every: timedelta = timedelta(hours=1)

    @property
    def boards(self) -> Mapping[str, Board]:
        """Declared boards by name."""
        return boards_of(self.reports)

    def board_of(self, report: Report) -> Board:
        """Return the board of a report."""
        return self.boards[report.board or report.name]

    def zone_of(self, report: Report) -> ZoneInfo:
        """Return the time zone whose midnight begins a day of this report."""
        return ZoneInfo(report.timezone) if report.timezone else self.zone


async def compute_documents(
    snapshot: DatabaseSnapshot, report: Report, *, now: datetime, zone: ZoneInfo
) -> Mapping[NodeId, Document]:
    """Compute every scope's document as of an instant, which may differ from the snapshot's."""
    with report_span("queries", report.name):
        tree = await snapshot.tree(report)
        rows = await snapshot.rows(report, now=now, day=day_around(now, zone))

    def write() -> Mapping[NodeId, Document]:
        totals = roll_up(rows, scope=report.scope, rollup=report.rollup, tree=tree)
        return write_documents(report, tree, totals, as_of=now, bounds=snapshot.bounds)

    with report_span("roll-up", report.name):
        return await off_loop(
            lambda: snapshot.memo.documents(report.name, tree, rows, write), nodes=len(tree.nodes)
        )


async def publish_set(
    store: ReportStore, new: NewSet, database_kept: Callable[[], Awaitable[bool]] | None = None
) -> dict[str, object]:
    """Store a set and return the facts of it.

    Args:
        database_kept: reads the database's clock and returns True if it has not been set since the state was
            taken.

    Raises:
        TryLater: other workers kept storing sets meanwhile.
    """
    with report_span("publish", new.report) as stage:
        facts = await _store_set(store, new, database_kept)
        stage.set_attribute("momentus.report.state", str(facts["state"]))
        return facts


async def _store_set(
    store: ReportStore, new: NewSet, database_kept: Callable[[], Awaitable[bool]] | None
) -> dict[str, object]:
    for _ in range(_PUBLISH_TRIES):
        stored = await store.read_set(new.report, day=new.day) if new.stored is None else new.stored
        began = fence_instant(new, stored.last)
        if began is None and database_kept is not None and await database_kept():
            began = fence_instant(new, stored.last, database_kept=True)
        if began is None:
            return {"state": "superseded", "ahead": ahead_of(new, stored.last), **new.meta}
        change = await off_loop(partial(set_change, stored, new.documents), nodes=_compared(new))
        cost = float(str(new.meta["cost_ms"]))
        costs = stored.costs if new.at_own_pace else with_latest(stored.costs, cost)
        meta = {**new.meta, "cost_p95_ms": p95(costs), "debt_ms": _debt_ms(new, stored, cost)}
        ready = replace(new, began=began, meta=meta, costs=costs)
        state = await store.publish_set(ready, stored, change)
        if state == "stored" and new.last is not None:
            gone = frozenset(one for one in (*change.gone, *stored.gone) if one not in new.documents)
            new.last.note_stored(stored.generation + 1, new.as_of, gone)
        if state == "moved" and isinstance(new.documents, ChangedDocuments):
            raise TryLater(_ANOTHER_SET, charged=False)
        new = replace(new, stored=None)
        if state != "moved":
            counts = {"changed": len(change.changed), "gone": len(change.gone)}
            return {"state": state, "ahead": ahead_of(new, stored.last), **counts, **meta}
    raise TryLater(
        f"report: other workers stored newer sets of it {_PUBLISH_TRIES} times; the job is retried", charged=False
    )


def _compared(new: NewSet) -> int:
    """Return the number of documents that are compared with the stored ones."""
    return len(new.documents.changed if isinstance(new.documents, ChangedDocuments) else new.documents)


def _debt_ms(new: NewSet, stored: StoredSet, cost_ms: float) -> float:
    cost, last = timedelta(milliseconds=cost_ms), stored.last
    if last is not None and last.stored:
        rested = max(timedelta(0), new.as_of - last.as_of)
        cost = debt_after(last.debt, rested=rested, share=new.share, cost=cost)
    return round(cost / timedelta(milliseconds=1), 1)
