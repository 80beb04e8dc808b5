"""A day of refreshes, replayed on a clock of its own: which refreshes are due.

Time is made up, the decisions are not. `reports.pace` is asked at each look of a prober as the prober asks
it, with every board's debounce, ceiling and budget as declared, triggers installed. Changes are instants at which
a table was written to; a refresh costs what refreshes were measured to cost, and is over at once.

What a refresh asks for is decided by `reports.refresh_scope`, also as in the worker: the nodes that were written
to and those whose instant is reached, or the whole: each hour, when nothing has changed, when too many have.

Not in it: the queue between asking and computing, failures, and what the triggers cost the writers. A day that
begins finds all sets stored and kept; the whole computations at midnight and at a worker's start come on top.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import cycle
from typing import NamedTuple

from reports import Report
from reports.boards import Board
from reports.cost import KEPT, p95, with_latest
from reports.day import Day
from reports.deadlines import Deadlines
from reports.last_set import LastSet
from reports.node_ids import NodeId
from reports.pace import SHARE, KnownSet, MarkTimes, Probe, debt_after, decide_refresh, stretch_of
from reports.refresh_scope import RefreshScope, Why, refresh_scope
from reports.rollup import RolledUp
from reports.taken_marks import TakenMarks
from reports.tree import Tree
from reports.triggers import board_key

_PAUSE = timedelta(seconds=1)
_SHORTEST = timedelta(milliseconds=1)
_TENANT = "default"
_WHOLE_EVERY = timedelta(hours=1)
_XID = 1
"""Transaction that took up marks before: always the one whose set is kept."""


class Computed(StrEnum):
    """How a board was refreshed: the dearest of its reports decides."""

    NODES = "some nodes"
    WHOLE = "the whole"
    COMPARED = "both, compared"


class Touch(NamedTuple):
    """Instant at which a row of a node is written, or at which time changes its numbers."""

    at: datetime
    node: NodeId


class ReportCosts(NamedTuple):
    """What refreshes of a report cost, in ms; taken one after the other, over and over."""

    some: Sequence[float]
    whole: Sequence[float]


@dataclass(frozen=True, slots=True)
class WorkingDay:
    """What happens in a day.

    Attributes:
        changes: by table, when it was written to.
        flips: by report, the instants besides midnight at which time itself changes its numbers; in order.
        tree: the tree of all reports.
    """

    start: datetime
    end: datetime
    tree: Tree = field(repr=False)
    changes: Mapping[str, Sequence[Touch]]
    flips: Mapping[str, Sequence[Touch]] = field(default_factory=dict)


@dataclass(slots=True)
class Replayed:
    """What the day came to.

    Attributes:
        looks: how often the prober looked.
        asked: how often it asked which triggers there are.
        reasons: why there were refreshes, by board and word of `pace`.
        computed: how they were computed, by board.
        whole: why reports were computed whole, by report and word of `refresh_scope`.
        nodes: nodes that refreshes of some nodes asked for, by board.
    """

    looks: int = 0
    asked: int = 0
    refreshes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    computed: Counter[tuple[str, Computed]] = field(default_factory=Counter)
    whole: Counter[tuple[str, Why]] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)


def replay(boards: Mapping[str, Board], day: WorkingDay, costs: Mapping[str, ReportCosts]) -> Replayed:
    """Let the day pass, from sets that are stored at its first instant.

    Args:
        costs: by report.
    """
    told = Replayed()
    server = _Server(sorted(one.at for touches in day.changes.values() for one in touches))
    kept = [_Kept(board, day, costs, server) for board in boards.values()]
    now, visible = day.start, ""
    while now < day.end:
        told.looks += 1
        stretch = stretch_of(boards, {one.board.name: one.known for one in kept}, share=SHARE)
        ours = frozenset(known.xid for one in kept for known in one.known.values() if known.xid is not None)
        former, visible = visible, server.visible(now)
        told.asked += visible != former
        due = [one.look(now, visible, stretch, ours, told) for one in kept]
        now += max(_SHORTEST, min([_PAUSE, *(one - now for one in due if one > now)]))
    return told


@dataclass(slots=True)
class _Server:
    """The database's transactions: those of all changes, and those of refreshes."""

    changes: Sequence[datetime]
    refreshes: int = 0

    def visible(self, now: datetime) -> str:
        """A snapshot in which all that was begun has ended."""
        return f"{self.next(now)}:{self.next(now)}:"

    def next(self, now: datetime) -> int:
        """The number of a transaction that begins now."""
        return 1 + bisect_right(self.changes, now) + self.refreshes


class _Kept:
    """What is stored of a board, and the marks that wait for it."""

    def __init__(self, board: Board, day: WorkingDay, costs: Mapping[str, ReportCosts], server: _Server) -> None:
        self.board, self._day, self._server = board, day, server
        self._key = board_key(_TENANT, board.name)
        marks = [(one.at, table, one.node) for table in board.sources for one in day.changes.get(table, ())]
        self._marks = sorted(marks, key=lambda mark: mark[0])
        self._instants = [mark[0] for mark in self._marks]
        self._taken_up, self._as_of = bisect_right(self._instants, day.start), day.start
        self._reports = [_KeptReport(report, day, costs[report.name]) for report in board.reports]
        self.known = {one.report.name: self._stored(one, day.start, timedelta(0)) for one in self._reports}
        server.refreshes += 1

    def look(self, now: datetime, visible: str, stretch: float, ours: frozenset[int], told: Replayed) -> datetime:
        """One look, and what it leads to; when the board is due next."""
        there = bisect_right(self._instants, now)
        waiting = self._marks[self._taken_up : there]
        marks = {self._key: MarkTimes(waiting[0][0], waiting[-1][0])} if waiting else {}
        seen = Probe(now, visible, marks, {self._key: self._as_of}, {self.board.name: ""})
        decision = decide_refresh(
            self.board, self.known, seen, self._key, watched=True, wanted=False, stretch=stretch, ours=ours
        )
        for name in decision.proved:
            known = self.known[name]
            self.known[name] = replace(known, verified=min(now, known.valid_until or now))
        if decision.due <= now:
            self._taken_up, self._as_of = there, now
            self._refresh(now, _taken(self.board, waiting), told)
            told.refreshes[self.board.name] += 1
            told.reasons[self.board.name, decision.why] += 1
        return decision.due

    def _refresh(self, now: datetime, marks: TakenMarks, told: Replayed) -> None:
        scopes = []
        asked = marks.count > 0 or any(one.is_reached(now) for one in self._reports)
        for one in self._reports:
            former = self.known[one.report.name]
            scope, cost = one.refresh(marks, former, now, asked=asked)
            rested = now - former.as_of
            debt = debt_after(former.debt, rested=rested, share=one.report.max_db_share, cost=cost)
            self.known[one.report.name] = self._stored(one, now, debt)
            scopes.append(scope)
            if scope.is_whole:
                told.whole[one.report.name, scope.why] += 1
        computed = _dearest(scopes)
        told.computed[self.board.name, computed] += 1
        if computed is Computed.NODES:
            told.nodes[self.board.name] += len(frozenset().union(*(one.nodes or () for one in scopes)))
        self._server.refreshes += 1

    def _stored(self, one: "_KeptReport", now: datetime, debt: timedelta) -> KnownSet:
        return KnownSet(
            as_of=now,
            verified=now,
            valid_until=one.valid_until(now),
            cost=timedelta(milliseconds=p95(one.ring)),
            debt=debt,
            visible=self._server.visible(now),
            xid=self._server.next(now),
            catalogue="",
        )


class _KeptReport:
    """What a worker keeps of a report, as far as its decisions depend on it."""

    def __init__(self, report: Report, day: WorkingDay, costs: ReportCosts) -> None:
        self.report, self._whole_day = report, Day(day.start, day.end)
        self._some, self._whole = cycle(costs.some), cycle(costs.whole)
        self.ring = list(costs.some)[:KEPT]
        self._flips = sorted(day.flips.get(report.name, ()), key=lambda flip: flip.at)
        self._of_node: dict[NodeId, list[datetime]] = {}
        for flip in self._flips:
            self._of_node.setdefault(flip.node, []).append(flip.at)
        self._last = LastSet(
            report=report,
            query=report,
            tree=day.tree,
            day=self._whole_day,
            digest="",
            rolled=RolledUp(scope=report.scope, rollup={}, tree=day.tree),
            etags={},
            sizes={},
            deadlines=Deadlines(report.valid_until_column),
            size=0,
            whole_at=day.start,
            as_of=day.start,
            xid=_XID,
        )
        self._note(day.start, self._of_node)

    def valid_until(self, now: datetime) -> datetime:
        """Return when time changes the numbers next."""
        place = bisect_right(self._flips, now, key=lambda flip: flip.at)
        return self._flips[place].at if place < len(self._flips) else self._whole_day.end

    def is_reached(self, now: datetime) -> bool:
        """Return True if time has changed rows of the report."""
        return self._last.deadlines.is_reached(now)

    def refresh(
        self, marks: TakenMarks, stored: KnownSet, now: datetime, *, asked: bool
    ) -> tuple[RefreshScope, timedelta]:
        """Return what a refresh asks for, and what it costs."""
        scope = self._scope(marks, stored, now, asked=asked)
        asked_for_some = not scope.is_whole or scope.nodes is not None
        cost_ms = next(self._some) if asked_for_some else 0.0
        if scope.is_whole:
            cost_ms += next(self._whole)
            self._last.whole_at = now
        self.ring = self.ring if scope.is_at_own_pace else with_latest(self.ring, cost_ms)
        self._note(now, self._last.deadlines.reached(now))
        self._last.as_of, self._last.valid_until = now, self.valid_until(now)
        return scope, timedelta(milliseconds=cost_ms)

    def _scope(self, marks: TakenMarks, stored: KnownSet, now: datetime, *, asked: bool) -> RefreshScope:
        if not self.report.sql_of_nodes:
            return RefreshScope(None, Why.DECLARED)
        return refresh_scope(
            self._last, marks, stored, now=now, day=self._whole_day, digest="", every=_WHOLE_EVERY, asked=asked
        )

    def _note(self, now: datetime, nodes: Iterable[NodeId]) -> None:
        """Note the next instant of each of these nodes."""
        if not self.report.valid_until_column:
            self._last.valid_until = self.valid_until(now)
            return
        for node in nodes:
            instants = self._of_node[node]
            place = bisect_right(instants, now)
            self._last.deadlines.note_instant(node, instants[place] if place < len(instants) else None)


def _taken(board: Board, waiting: Sequence[tuple[datetime, str, NodeId]]) -> TakenMarks:
    """Return what the triggers note of these writes."""
    named: dict[str, set[str]] = {}
    for _, table, node in waiting:
        named.setdefault(table, set()).add(str(node))
    everything = any(table not in board.node_columns for table in named)
    nodes = {table: frozenset(ids) for table, ids in named.items()}
    return TakenMarks(len(waiting), nodes, everything, former=_XID)


def _dearest(scopes: Sequence[RefreshScope]) -> Computed:
    if any(one.is_whole and one.nodes is not None for one in scopes):
        return Computed.COMPARED
    return Computed.WHOLE if any(one.is_whole for one in scopes) else Computed.NODES
