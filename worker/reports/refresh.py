"""The refresh: from one database state to one atomic write. Safe to run twice, or twice at once.

    open a snapshot -> tree and rows -> roll up -> documents -> what differs -> publish -> end the transaction

The fence is ``as_of``, the database's own instant: a worker that was paused half-way cannot overwrite a newer
set, whatever clocks and locks did meanwhile. A crash anywhere costs one repeated recompute.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobs.reports import Report
from worker.engine import GiveUp, TryLater
from worker.events import emit
from worker.reports.day import Day, day_around
from worker.reports.document import Document, microseconds, milliseconds, write_documents
from worker.reports.rollup import InvalidRows, roll_up
from worker.reports.source_postgres import DATABASE_FAULTS, Snapshot, Source
from worker.reports.store import ReportStore, difference
from worker.reports.tree import InvalidTree, grow_tree

_PUBLISH_TRIES = 5
_ANOTHER_WORKER = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True)
class Refresher:
    """What a refresh needs.

    Attributes:
        tenant: whose reports these are.
        reports: the declared reports by name.
        zone: whose midnight begins a day.
    """

    tenant: str
    reports: Mapping[str, Report]
    source: Source
    store: ReportStore
    zone: ZoneInfo


async def refresh_report(
    context: dict[str, Any], tenant: str, report: str, scope: int | None = None
) -> dict[str, object]:
    """The handler of ``report.refresh``.

    Args:
        context: ``refresher``.
        tenant: whose report; another tenant's waits, uncharged, for a worker of that tenant.
        scope: what changed, for the log; all scopes are recomputed.

    Raises:
        GiveUp: the report is not declared here.
        TryLater: the database or the report's SQL failed; the last good set stays.
    """
    refresher: Refresher = context["refresher"]
    if tenant != refresher.tenant:
        raise TryLater(f"this worker serves another tenant than {tenant!r}", after=_ANOTHER_WORKER, charged=False)
    if report not in refresher.reports:
        emit("report.unknown", report=report)
        raise GiveUp(f"report {report!r} is not declared on this worker")
    try:
        return await refresh(refresher, refresher.reports[report], scope=scope)
    except (*DATABASE_FAULTS, InvalidRows, InvalidTree) as error:
        words = f"{type(error).__name__}: {error}"
        await refresher.store.record_failure(report, at=datetime.now(UTC), error=words)
        emit("report.failed", report=report, error=type(error).__name__)
        raise TryLater(words) from error


async def refresh(refresher: Refresher, report: Report, *, scope: int | None = None) -> dict[str, object]:
    """Recompute a report and store what changed; says what was done.

    Raises:
        PostgresError, InvalidRows, InvalidTree: nothing was stored.
    """
    began = time.perf_counter()
    async with refresher.source.snapshot() as snapshot:
        documents = await compute(snapshot, report, now=snapshot.as_of, zone=refresher.zone)
        queried = time.perf_counter()
        facts = await _publish(refresher, report, snapshot, documents, cost_ms=(queried - began) * 1000)
    facts |= {"report": report.name, "scope": scope, "total_ms": round((time.perf_counter() - began) * 1000, 1)}
    emit("report.refreshed" if facts["state"] == "stored" else "report.superseded", **facts)
    return facts


async def compute(snapshot: Snapshot, report: Report, *, now: datetime, zone: ZoneInfo) -> dict[int, Document]:
    """Every scope's document as of an instant, which need not be the snapshot's."""
    tree = grow_tree(await snapshot.tree(report))
    rows = await snapshot.rows(report, now=now, day=day_around(now, zone))
    totals = roll_up(rows, scope=report.scope, rollup=report.rollup, tree=tree)
    return write_documents(report, tree, totals, as_of=now)


async def _publish(
    refresher: Refresher, report: Report, snapshot: Snapshot, documents: Mapping[int, Document], *, cost_ms: float
) -> dict[str, object]:
    day = day_around(snapshot.as_of, refresher.zone)
    meta = _meta(report, snapshot, day, scopes=len(documents), cost_ms=cost_ms)
    for _ in range(_PUBLISH_TRIES):
        stored = await refresher.store.stored(report.name)
        change = difference(stored, documents)
        state = await refresher.store.publish(
            report.name, stored, documents, change, as_of=snapshot.as_of, meta=meta
        )
        if state != "moved":
            return {"state": state, "changed": len(change.changed), "gone": len(change.gone), **meta}
    raise TryLater("other workers kept storing newer sets of this report", charged=False)


def _meta(report: Report, snapshot: Snapshot, day: Day, *, scopes: int, cost_ms: float) -> dict[str, object]:
    """What a reader must know of the set beside the bodies; docs/wire.md explains each."""
    as_of_us = microseconds(snapshot.as_of)
    return {
        "report": report.name,
        "as_of_us": as_of_us,
        "verified_us": as_of_us,
        "valid_until_us": microseconds(day.end) if report.next_midnight else None,
        "soft_ms": milliseconds(report.soft),
        "hard_ms": milliseconds(report.hard),
        "cost_ms": round(cost_ms, 1),
        "scopes": scopes,
        "snapshot": snapshot.visible,
    }
