"""Refresh: from one database state to atomic writes. It is safe to run twice, or twice at once.

    open a snapshot, take up the board's marks
    -> for each report, in a savepoint: read tree and rows, roll up, write documents
    -> for each report: find the difference, publish
    -> commit

All reports of a board are read in one transaction and have one ``as_of``. A report that fails, with any error,
keeps its last good set, is paused for a while, and does not affect the others.

The fence is the database's own clock: a set is stored only if its transaction began after the stored one's
``as_of``, so that its state is certainly the later one. A worker that was suspended half-way cannot overwrite a
newer set, whatever clocks and locks did meanwhile. If a set cannot be stored, the transaction is rolled back and
the marks come back. A crash at any point costs one more refresh: at worst all is stored and the marks are still
there.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reports import Report
from reports.boards import Board
from reports.catalogue_postgres import read_catalogue
from reports.cost import rest_after
from reports.document import microseconds, milliseconds
from reports.last_set import LastSet
from reports.node_ids import NodeId, kind_in_meta
from reports.off_loop import off_loop
from reports.refresh_scope import is_stored_now, query_digest
from reports.source_postgres import (
    DATABASE_FAULTS,
    AnotherRefresh,
    DatabaseSnapshot,
    MarksRefused,
    is_unreached,
    log_fields,
)
from reports.store import FailureStreak, NewSet, StoredSet
from reports.taken_marks import TakenMarks
from reports.triggers import board_key
from reports.waiting import awaited_tables
from worker.engine import GiveUp, TryLater
from worker.events import bind_fields, emit, event
from worker.reports.computed_set import ComputedSet, SetComputation
from worker.reports.history import close_days
from worker.reports.refresh_context import RefreshContext, publish_set
from worker.reports.refresh_times import FAILURES, QUERIES, REFRESHES
from worker.tracing import report_span

_REPORT_REFRESHED = event("report.refreshed")
_REPORT_SUPERSEDED = event("report.superseded")
_REPORT_UNKNOWN = event("report.unknown")
_REPORT_FAILED = event("report.failed")
_REPORT_DIFFERENT = event("report.different")

_ANOTHER_REFRESH = timedelta(milliseconds=200)
_NEXT_WORKER, _LONGEST_NEXT_WORKER = timedelta(milliseconds=50), timedelta(seconds=1)
"""Waits of a job that this worker leaves to the board's keeper; each time another idle worker claims it."""
_KEEPER_COMES = timedelta(seconds=10)
"""Age of a job at which another worker takes over its board, because the keeper claims nothing."""
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(milliseconds=200), timedelta(seconds=30)
"""Waits of a job that only another worker can do."""


_WAITS = "correct that clock; a new set is stored once it has passed the time of the stored one"


class ClockSetBack(Exception):
    """The stored set lies in the future of the database's clock, and nothing shows that it is the older state."""


class SetSuperseded(Exception):
    """A newer set of one of the board's reports is stored; the marks of this transaction come back."""


@dataclass(slots=True)
class BoardOutcome:
    """Outcome of a board's refresh: facts by report, and the errors of those that failed."""

    reports: dict[str, dict[str, object]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict, repr=False)
    resting: tuple[str, ...] = ()
    marks: int = 0
    total_ms: float = 0.0
    as_of: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def errors(self) -> list[str]:
        """Names of the errors, each once."""
        return sorted({words.partition(":")[0] for words in self.failed.values()})

    def facts(self) -> dict[str, object]:
        """Return the facts for the job's result."""
        return {"reports": self.reports, "resting": self.resting, "marks": self.marks, "total_ms": self.total_ms}


async def refresh_report(
    context: dict[str, Any], tenant: str, report: str, scope: NodeId | None = None
) -> dict[str, object]:
    """Handle ``report.refresh``: refresh the report's board.

    Args:
        context: must have ``refresher``; ``age`` is the job's.
        tenant: tenant of the report; a job of another tenant is retried, uncharged, by a worker of that tenant.
        scope: scope that changed, for the log; all scopes are recomputed.

    Raises:
        GiveUp: the report is not declared here.
        TryLater: the database or a report's SQL failed; each failed report keeps its last good set.
    """
    refresher: RefreshContext = context["refresher"]
    wait = wait_for_another_worker(context.get("age", timedelta(0)))
    if tenant != refresher.tenant:
        words = f"tenant: this worker does not serve {tenant!r}; a worker of that tenant will take the job"
        raise TryLater(words, after=wait, charged=False)
    if report not in refresher.reports:
        return await _elsewhere(refresher, report, wait)
    board = refresher.board_of(refresher.reports[report])
    if tables := await _awaited_tables(refresher, board):
        return {"waits_for": tables}  # the prober asks again when they exist
    await _require_keeper(refresher, board, context.get("age", timedelta(0)))
    outcome = await refresh_board(refresher, board, scope=scope)
    if outcome.reports:
        await close_days(refresher, board, now=outcome.as_of)
    if outcome.failed:
        bind_fields(failure="report", reports=list(outcome.failed), errors=outcome.errors)
        raise TryLater("; ".join(f"{name}: {words}" for name, words in outcome.failed.items()))
    return outcome.facts()


def wait_for_another_worker(age: timedelta) -> timedelta:
    """Return the wait of a job that this worker cannot do: as long as it has waited already, up to half a minute.

    So a job whose worker stays down costs the others a claim every 30 s, not five a second.

    >>> [wait_for_another_worker(timedelta(seconds=age)).total_seconds() for age in (0, 3, 900)]
    [0.2, 3.0, 30.0]
    """
    return min(max(age, _SHORTEST_WAIT), _LONGEST_WAIT)


async def _require_keeper(refresher: RefreshContext, board: Board, age: timedelta) -> None:
    """Leave a board to the worker that keeps its last sets, unless that worker has not come for a long time.

    Raises:
        TryLater: another worker keeps them.
    """
    if board.is_kept and not await refresher.store.keepers.take_board(
        board.named_with_reports, by_force=age >= _KEEPER_COMES
    ):
        wait = min(max(age / 4, _NEXT_WORKER), _LONGEST_NEXT_WORKER)
        raise TryLater("board: another worker keeps its sets and will take the job", after=wait, charged=False)


async def _awaited_tables(refresher: RefreshContext, board: Board) -> tuple[str, ...]:
    """Return the tables for which a board waits, by the catalogue as it is now; empty if that is not known."""
    if refresher.outbox is None:
        return ()
    try:
        absent = (await refresher.outbox.catalogue()).absent
        if not absent:
            return ()
        known = await refresher.store.read_known([report.name for report in board.reports])
        tables = awaited_tables(board, known, absent)
        if tables:
            refresher.outbox.forget_catalogue()
            tables = awaited_tables(board, known, (await refresher.outbox.catalogue()).absent)
    except DATABASE_FAULTS:  # the refresh meets them too, and records them
        return ()
    return tables


async def _elsewhere(refresher: RefreshContext, report: str, wait: timedelta) -> dict[str, object]:
    """Handle a refresh of a report that this worker does not have.

    Raises:
        TryLater: another worker declares it.
        GiveUp: no worker ever declared it.
    """
    declarations = refresher.store.declarations
    if await declarations.is_declared(report):
        raise TryLater(
            f"report: {report!r} is declared by another worker, which will take the job",
            after=wait,
            charged=False,
        )
    emit(_REPORT_UNKNOWN, report=report)
    if await declarations.was_declared(report):
        return {"withdrawn": report}
    raise GiveUp(f"report: {report!r} is not declared by any worker; check its name and MOMENTUS_REPORTS__PATH")


async def refresh_board(refresher: RefreshContext, board: Board, *, scope: NodeId | None = None) -> BoardOutcome:
    """Recompute a board's reports and store what changed. A report's own failure is recorded, not raised.

    Raises:
        TryLater: another refresh of the board is running.
    """
    began = time.perf_counter()
    stored = await refresher.store.read_heads([report.name for report in board.reports])
    outcome = BoardOutcome()
    try:
        await _refresh_watched_or_not(refresher, board, stored, outcome)
    except SetSuperseded:
        pass  # logged for the report already; the next refresh takes up the marks
    except AnotherRefresh as error:
        raise TryLater(str(error), after=_ANOTHER_REFRESH, charged=False) from error
    except DATABASE_FAULTS as error:
        for report in board.reports:
            if report.name not in outcome.failed:
                await _note_failure(refresher, report, error, stored[report.name].failure, outcome)
    took = time.perf_counter() - began
    REFRESHES[board.name].observe(took)
    outcome.total_ms = round(took * 1000, 1)
    _say(board, outcome, scope)
    return outcome


async def _refresh_watched_or_not(
    refresher: RefreshContext, board: Board, stored: Mapping[str, StoredSet], outcome: BoardOutcome
) -> None:
    """Refresh in one transaction, with the board's marks if this user may take them up, else without."""
    outbox = refresher.outbox
    if outbox is not None and await outbox.watches(board.name):
        try:
            async with refresher.source.snapshot(readonly=False) as snapshot:
                marks = await snapshot.take_up(board_key(refresher.tenant, board.name))
                outcome.marks = marks.count
                sets = await _refresh_all(refresher, board, snapshot, stored, outcome, marks)
        except MarksRefused as error:
            outbox.refuse_marks(str(error))
        else:
            for one in sets:
                if one.last is not None:
                    snapshot.memo.keep_last(one.last)
            return
    async with refresher.source.snapshot() as snapshot:
        await _refresh_all(refresher, board, snapshot, stored, outcome)


async def _refresh_all(
    refresher: RefreshContext,
    board: Board,
    snapshot: DatabaseSnapshot,
    stored: Mapping[str, StoredSet],
    outcome: BoardOutcome,
    marks: TakenMarks | None = None,
) -> list[NewSet]:
    """Compute and store each report that is not in its pause after a failure. Returns the stored sets.

    Raises:
        SetSuperseded: a newer set of one of them is stored.
        DATABASE_FAULTS: the connection is lost.
    """
    outcome.as_of = snapshot.began
    outcome.resting = tuple(name for name, one in stored.items() if one.failure.rests(snapshot.at))
    reached = snapshot.memo.is_reached([report.name for report in board.reports], snapshot.as_of)
    asked = reached or (marks is not None and marks.count > 0)
    offset_us = await _compare_clocks(refresher, snapshot)
    digest = await _digest(refresher, board, snapshot)
    await snapshot.note_catalogue(board.name, digest if board.sources else None)
    sets: list[NewSet] = []
    for report in board.reports:
        if report.name in outcome.resting:
            continue
        spent = snapshot.spent
        try:
            async with snapshot.part(lazily=True):  # many reports ask for nothing
                sets.append(
                    await _compute(
                        refresher, report, snapshot, stored[report.name], digest, offset_us, marks, asked=asked
                    )
                )
        except Exception as error:
            if snapshot.lost and isinstance(error, DATABASE_FAULTS):
                raise
            cost = timedelta(seconds=snapshot.spent - spent)
            await _note_failure(refresher, report, error, stored[report.name].failure, outcome, cost=cost)
    for one in sets:
        facts = outcome.reports[one.report] = await publish_set(refresher.store, one, snapshot.clock_kept)
        if (ahead := facts.pop("ahead")) and facts["state"] == "superseded":
            fault = ClockSetBack(f"the stored set is {ahead} ahead of the database's clock; {_WAITS}")
            failure = stored[one.report].failure
            await _note_failure(refresher, refresher.reports[one.report], fault, failure, outcome)
    if any(facts["state"] == "superseded" for facts in outcome.reports.values()):
        raise SetSuperseded
    return sets


async def _digest(refresher: RefreshContext, board: Board, snapshot: DatabaseSnapshot) -> str | None:
    """Return the catalogue's digest of the board in this state; the outbox may have read another one."""
    proof = (await read_catalogue(snapshot.query, refresher.tenant, {board.name: board})).proof(board.name)
    if refresher.outbox is not None and (proof.kind == "marks") != (snapshot.xid is not None):
        refresher.outbox.forget_catalogue()
    return proof.digest


async def _compare_clocks(refresher: RefreshContext, snapshot: DatabaseSnapshot) -> int | None:
    """Return how far the database's clock is ahead of Redis's, in microseconds."""
    if snapshot.reading is not None:
        refresher.clocks.note_database(snapshot.reading)
    refresher.clocks.note_redis(await refresher.store.read_clock())
    return refresher.clocks.cautious_offset_us


async def _compute(
    refresher: RefreshContext,
    report: Report,
    snapshot: DatabaseSnapshot,
    stored: StoredSet,
    digest: str | None,
    offset_us: int | None,
    marks: TakenMarks | None,
    *,
    asked: bool,
) -> NewSet:
    """Return the report's new set, ready to be stored."""
    spent = snapshot.spent
    computation = SetComputation(report, snapshot, stored.last, refresher.zone_of(report))
    with report_span("compute", report.name) as stage:
        computed = await computation.compute(marks, digest, asked=asked, whole_every=refresher.whole_every)
        stage.set_attribute("momentus.report.scope", computed.scope.why)
    QUERIES[report.name].observe(snapshot.spent - spent)
    cost_ms = (snapshot.spent - spent) * 1000
    tree = computed.tree
    of_tree = await off_loop(lambda: tree.digest, nodes=0 if tree.has_digest else len(tree.nodes))
    meta = _meta(report, snapshot, computed.until, digest, scopes=len(computed.documents), cost_ms=cost_ms)
    meta |= {"tree": of_tree, "clock_offset_us": offset_us, "roots": tree.roots}
    meta |= kind_in_meta(tree.kind) | _scope_in_meta(report, computed)
    if computed.differing:
        await _note_difference(refresher, report, computed.differing, snapshot.at)
    return NewSet(
        report=report.name,
        as_of=snapshot.as_of,
        began=snapshot.follows,
        documents=computed.documents,
        meta=meta,
        share=report.max_db_share,
        stored=_with_scopes(stored, computed.former),
        at_own_pace=computed.scope.is_at_own_pace,
        last=computed.last,
    )


def _with_scopes(stored: StoredSet, former: LastSet | None) -> StoredSet | None:
    """Return the stored set with its scopes, if it is the one that this worker has kept; None: read it."""
    if former is None or not is_stored_now(former, stored.last):
        return None
    return replace(stored, etags=former.etags, gone=former.gone)


def _scope_in_meta(report: Report, computed: ComputedSet) -> dict[str, object]:
    """Return the fields of ``_meta`` that say how the set was computed."""
    if computed.last is None:
        return {"computed": computed.scope.why}
    fields = {"computed": computed.scope.why, "whole_us": microseconds(computed.last.whole_at)}
    if computed.distrusted is None:
        return fields
    return fields | {
        "distrusted_us": microseconds(computed.distrusted),
        "distrusted_query": query_digest(report),
    }


async def _note_difference(
    refresher: RefreshContext, report: Report, nodes: Sequence[NodeId], at: datetime
) -> None:
    """Log, count and store that the query for some nodes disagreed with the whole."""
    emit(_REPORT_DIFFERENT, report=report.name, nodes=len(nodes), first=list(nodes[:5]))
    await refresher.store.record_difference(report.name, nodes, at=at)


def _meta(
    report: Report,
    snapshot: DatabaseSnapshot,
    until: datetime | None,
    digest: str | None,
    *,
    scopes: int,
    cost_ms: float,
) -> dict[str, object]:
    """Return what a reader must know of the set besides the bodies; docs/wire.md explains each field."""
    return {
        "report": report.name,
        "board": report.board or report.name,
        "as_of_us": microseconds(snapshot.as_of),
        "verified_us": microseconds(snapshot.began),
        "valid_until_us": None if until is None else microseconds(until),
        "soft_ms": milliseconds(report.soft),
        "hard_ms": milliseconds(report.hard),
        "cost_ms": round(cost_ms, 1),
        "scopes": scopes,
        "snapshot": snapshot.visible,
        "xid": snapshot.xid,
        "computed_us": microseconds(snapshot.at),
        "catalogue": digest,
    }


async def _note_failure(
    refresher: RefreshContext,
    report: Report,
    error: Exception,
    former: FailureStreak,
    outcome: BoardOutcome,
    *,
    cost: timedelta = timedelta(0),
) -> None:
    """Store the error beside the last good set, and pause the report."""
    now = refresher.clocks.now()
    words = f"{type(error).__name__}: {error}"
    reached = not is_unreached(error)
    rest = rest_after(former.times + 1, cost=cost, share=report.max_db_share, reached=reached)
    outcome.failed[report.name] = words
    FAILURES[report.name] += 1
    failure = FailureStreak(former.times + 1, now + rest)
    await refresher.store.record_failure(report.name, at=now, error=words, failure=failure)
    emit(_REPORT_FAILED, report=report.name, board=report.board or report.name, **log_fields(error))


def _say(board: Board, outcome: BoardOutcome, scope: NodeId | None) -> None:
    for name, facts in outcome.reports.items():
        told = _REPORT_REFRESHED if facts["state"] == "stored" else _REPORT_SUPERSEDED
        emit(told, report=name, board=board.name, scope=scope, total_ms=outcome.total_ms, **_figures(facts))


def _figures(facts: Mapping[str, object]) -> dict[str, object]:
    wanted = ("gen", "changed", "gone", "scopes", "cost_ms", "cost_p95_ms", "as_of_us")
    return {name: facts[name] for name in wanted if name in facts}
