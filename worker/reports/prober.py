"""Prober: checks each second whether the stored sets are still true, records it, and requests refreshes.

One worker of a tenant is the prober, by a lease in Redis; two at once would make the same requests twice. Reports
that it does not have are probed by a worker that has them. A prober keeps no state between rounds: requests, their
times and costs are in Redis, and changes are in the database. So a prober that dies loses nothing, and another one
continues within seconds.

A round reads the database before Redis. A set that is stored between the two reads contains what the probe has
seen; a set that is stored after both stays as it is, because verify.lua changes only the generation that was read.
"""

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from redis.exceptions import RedisError

from producers import NotEnqueued, Producer
from reports import Report
from reports.boards import Board
from reports.catalogue_postgres import Catalogue, Proof
from reports.declarations import UNDECLARED
from reports.outbox_postgres import Outbox
from reports.pace import SHARE, Decision, KnownSet, Probe, decide_all, rest_ends
from reports.source_postgres import DATABASE_FAULTS, log_fields
from reports.triggers import board_key
from reports.waiting import awaited_tables
from worker.events import emit, event
from worker.reports.refresh_context import RefreshContext
from worker.tracing import stage_span
from worker.troubles import end_trouble, note_trouble

_PROBER_FAILED = event("prober.failed")
_REPORT_WITHDRAWN = event("report.withdrawn")
_REPORT_FORGOTTEN = event("report.forgotten")
_BOARD_WATCHED = event("board.watched")
_BOARD_UNWATCHED = event("board.unwatched")
_BOARD_UNPROVED = event("board.unproved")
_BOARD_WAITS = event("board.waits")

_SLOWEST = timedelta(seconds=1)
_SWEEP = timedelta(seconds=10)
"""Interval between searches for reports that no worker declares."""
_FORGET = timedelta(hours=1)
"""Interval between searches for nodes that left the tree long ago."""
_FASTEST = timedelta(milliseconds=100)
_LEASE = timedelta(seconds=3)
_REPORTS = "reports"
_FAULTS = (RedisError, NotEnqueued, *DATABASE_FAULTS)


@dataclass(frozen=True, slots=True)
class ProbeRound:
    """Result of one round: a decision by board, and the boards whose refresh was requested."""

    at: datetime
    decisions: Mapping[str, Decision]
    asked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reason:
    """Reason of a request, and the instant of the change that is the reason, in nanoseconds since 1970."""

    why: str
    began_ns: int | None = None


_BLIND = _Reason("database is down")


class Prober:
    """Prober of one tenant.

    Args:
        refresher: context with the tenant's boards and an outbox.
        producer: producer of the same tenant.
        share: share of one database processor that all boards of the tenant together may use.
    """

    def __init__(self, refresher: RefreshContext, producer: Producer, *, share: float = SHARE) -> None:
        if refresher.outbox is None:
            raise ValueError("outbox: a prober needs one; pass a RefreshContext with an outbox")
        self._outbox: Outbox = refresher.outbox
        self._refresher = refresher
        self._producer = producer
        self._share = share
        self._boards = refresher.boards
        self._me = secrets.token_hex(8)
        self._said: dict[str, Proof] = {}
        self._waiting: dict[str, tuple[str, ...]] = {}
        """The tables for which each board waits, as this prober has noted it."""
        self._well = True
        self._sweep_at = time.monotonic() + UNDECLARED.total_seconds()
        self._forget_at = self._sweep_at

    async def run(self) -> None:
        """Probe until cancelled; retry after faults of Redis and of the database."""
        try:
            while True:
                wait = await self._cycle_or_note()
                await asyncio.sleep(wait.total_seconds())
        finally:
            end_trouble(_REPORTS)

    async def _cycle_or_note(self) -> timedelta:
        """Do one cycle, or note why it fails; return the wait before the next one."""
        try:
            wait = await self._cycle()
        except _FAULTS as error:
            fields = log_fields(error)
            if self._well:
                emit(_PROBER_FAILED, **fields)
            self._well = False
            if isinstance(error, DATABASE_FAULTS):
                note_trouble(_REPORTS, ": ".join(fields.values()))
            return _SLOWEST
        self._well = True
        end_trouble(_REPORTS)
        return wait

    async def _cycle(self) -> timedelta:
        await self._refresher.store.declare_reports(
            self._refresher.reports
        )  # each time: Redis may have been emptied
        await self._refresher.store.keepers.renew_leases()
        mine = await self._refresher.store.take_prober_lease(self._me, self._refresher.reports, lasting=_LEASE)
        if mine is None:
            return _SLOWEST
        await self._sweep()
        await self._refresher.store.remove_left_behind()
        look = await self.probe_once(mine)
        pause = max(_FASTEST, min([_SLOWEST, *(board.debounce for board in self._boards.values())]))
        waiting = [one.due - look.at for name, one in look.decisions.items() if name not in look.asked]
        return max(timedelta(0), min([pause, *(wait for wait in waiting if wait > timedelta(0))]))

    async def _sweep(self) -> None:
        """Withdraw reports that no worker declares, once this prober has run long enough to know."""
        declarations, ours = self._refresher.store.declarations, self._refresher.reports
        if time.monotonic() < self._sweep_at:
            return
        self._sweep_at = time.monotonic() + _SWEEP.total_seconds()
        swept = await declarations.sweep(ours)
        for report in swept.withdrawn:
            emit(_REPORT_WITHDRAWN, report=report)
        for report in swept.forgotten:
            emit(_REPORT_FORGOTTEN, report=report)
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET.total_seconds()
            for report in ours:
                await declarations.forget_gone(report)

    async def probe_once(self, mine: Collection[str] | None = None) -> ProbeRound:
        """Probe once: record what is proved, and request the refreshes that are due.

        Args:
            mine: reports to probe; None: all that this worker has.
        """
        mine = self._refresher.reports.keys() if mine is None else mine
        try:
            seen = await self._outbox.probe_database()
            heard_ns = time.time_ns()
            found = await self._outbox.catalogue()
        except DATABASE_FAULTS:
            await self._ask_blind(mine)
            raise
        store, offset_us = self._refresher.store, await self._compare_clocks(seen)
        seen = replace(seen, offset=None if offset_us is None else timedelta(microseconds=offset_us))
        known = await store.read_known(list(self._refresher.reports))
        waiting = await self._note_waiting(known, found, mine)
        self._tell(found, self._boards_with(mine).keys() - waiting)
        wishes = await store.take_wishes(list(mine))
        of_all = decide_all(
            self._boards,
            known,
            seen,
            tenant=self._refresher.tenant,
            watched=found.watched,
            wanted=wishes,
            share=self._share,
        )
        decisions = {name: of_all[name] for name in self._boards_with(mine)}
        proved = [name for decision in decisions.values() for name in decision.proved if name in mine]
        for name in proved:
            await store.record_proof(name, known[name], at=seen.at, offset_us=offset_us, visible=seen.visible)
        due = [name for name, decision in decisions.items() if decision.due <= seen.at and name not in waiting]
        reasons = {
            name: _reason(decisions[name], seen, board_key(self._refresher.tenant, name), heard_ns) for name in due
        }
        return ProbeRound(seen.at, decisions, await self._ask(due, mine, reasons))

    def _boards_with(self, reports: Collection[str]) -> Mapping[str, Board]:
        """Return the boards that have one of these reports."""
        return {
            name: board
            for name, board in self._boards.items()
            if any(report.name in reports for report in board.reports)
        }

    async def _compare_clocks(self, seen: Probe) -> int | None:
        """Return the database's clock minus Redis's, in microseconds."""
        clocks = self._refresher.clocks
        if seen.reading is not None:
            clocks.note_database(seen.reading)
        clocks.note_redis(await self._refresher.store.read_clock())
        return clocks.cautious_offset_us

    async def _ask(
        self, boards: list[str], mine: Collection[str], reasons: Mapping[str, "_Reason"] = MappingProxyType({})
    ) -> tuple[str, ...]:
        """Request refreshes that no worker is running. A request during a run would cause one more run."""
        jobs = {f"{{reports}}refresh:{self._refresher.tenant}:{name}": name for name in boards}
        running = await self._refresher.store.running_jobs(list(jobs)) if jobs else set()
        asked = [name for job_id, name in jobs.items() if job_id not in running]
        for name in asked:
            reason = reasons.get(name, _BLIND)
            with stage_span(
                "report due", {"momentus.board": name, "momentus.why": reason.why}, began_ns=reason.began_ns
            ):
                await self._request(self._boards[name], mine)
        return tuple(boards)

    async def _request(self, board: Board, mine: Collection[str]) -> None:
        """Request a refresh for a report that this worker probes: a worker that lacks it leaves it to others."""
        report = next(one.name for one in board.reports if one.name in mine)
        await self._producer.request_refresh(report, scope=None, delay=timedelta(0), board=board.name)

    async def _ask_blind(self, mine: Collection[str]) -> None:
        """Request refreshes at the declared interval while the database is down, so that its error is recorded."""
        known = await self._refresher.store.read_known(list(self._refresher.reports))
        now = self._refresher.clocks.now()
        due = [
            name
            for name, board in self._boards_with(mine).items()
            if any(_is_due_blind(known[report.name], report, now) for report in board.reports)
        ]
        await self._ask(due, mine)

    async def _note_waiting(
        self, known: Mapping[str, KnownSet], found: Catalogue, mine: Collection[str]
    ) -> frozenset[str]:
        """Note in Redis which boards wait for their tables, log changes, and return the names of these boards."""
        boards = self._boards_with(mine)
        tables = {name: awaited_tables(board, known, found.absent) for name, board in boards.items()}
        notes = self._refresher.store.waiting
        for name, awaited in tables.items():
            reports = [report.name for report in boards[name].reports if report.name in mine]
            if awaited:
                await notes.note_tables(reports, awaited)
            elif self._waiting.get(name) != ():
                await notes.end_waiting(reports)
            if awaited and awaited != self._waiting.get(name):
                emit(_BOARD_WAITS, board=name, tables=list(awaited))
            self._waiting[name] = awaited
        return frozenset(name for name, awaited in tables.items() if awaited)

    def _tell(self, found: Catalogue, boards: Collection[str]) -> None:
        """Log each board's proof when it is new or has changed."""
        for name in sorted(boards):
            board = self._boards[name]
            proof = found.proof(name)
            said = replace(proof, digest=None)
            if self._said.get(name) == said:
                continue
            self._said[name] = said
            if proof.kind == "marks":
                emit(_BOARD_WATCHED, board=name, sources=len(board.sources))
            else:
                emit(
                    _BOARD_UNWATCHED if proof.kind == "snapshot" else _BOARD_UNPROVED,
                    board=name,
                    proof=proof.kind,
                    why="; ".join(proof.why),
                    missing=list(found.faulty),
                )


def _reason(decision: Decision, seen: Probe, board: str, heard_ns: int) -> _Reason:
    """Return why a board is due, and since when its first mark waits; a trace begins there.

    Args:
        board: key of the board's marks.
        heard_ns: this machine's time when the probe's reply came; marks have the database's.
    """
    marks = seen.marks.get(board)
    if marks is None:
        return _Reason(decision.why)
    return _Reason(decision.why, heard_ns - max(0, round((seen.at - marks.first).total_seconds() * 1e9)))


def _is_due_blind(known: KnownSet, report: Report, now: datetime) -> bool:
    rest = rest_ends(known.again, known.failed, now)
    return (rest is None or rest <= now) and max(known.verified, known.at) + report.every <= now
