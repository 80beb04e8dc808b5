"""A day of refreshes, replayed on a clock of its own: which refreshes are due.

Time is made up, the decisions are not. `reports.pace` is asked at each look of a prober as the prober asks
it, with every board's debounce, ceiling and budget as declared, triggers installed. Changes are instants at which
a table was written to; a refresh costs what refreshes were measured to cost, and is over at once.

Not in it: the queue between asking and computing, failures, and what the triggers cost the writers.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import cycle

from reports.boards import Board
from reports.cost import KEPT, p95, with_latest
from reports.pace import SHARE, KnownSet, MarkTimes, Probe, debt_after, decide_refresh, stretch_of
from reports.triggers import board_key

_PAUSE = timedelta(seconds=1)
_SHORTEST = timedelta(milliseconds=1)
_TENANT = "default"


@dataclass(frozen=True, slots=True)
class WorkingDay:
    """What happens in a day.

    Attributes:
        changes: by table, when it was written to; in order.
        flips: by report, the instants besides midnight at which time itself changes its numbers; in order.
    """

    start: datetime
    end: datetime
    changes: Mapping[str, Sequence[datetime]]
    flips: Mapping[str, Sequence[datetime]] = field(default_factory=dict)


@dataclass(slots=True)
class Replayed:
    """What the day came to.

    Attributes:
        looks: how often the prober looked.
        reasons: why there were refreshes, by board and word of `pace`.
    """

    looks: int = 0
    asked: int = 0
    refreshes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)


def replay(boards: Mapping[str, Board], day: WorkingDay, costs_ms: Mapping[str, Sequence[float]]) -> Replayed:
    """Let the day pass, from sets that are stored at its first instant.

    Args:
        costs_ms: by report, what refreshes cost; taken one after the other, over and over.
    """
    told = Replayed()
    server = _Server(sorted(at for instants in day.changes.values() for at in instants))
    kept = [_Kept(board, day, costs_ms, server) for board in boards.values()]
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

    def __init__(
        self, board: Board, day: WorkingDay, costs_ms: Mapping[str, Sequence[float]], server: _Server
    ) -> None:
        self.board, self._day, self._server = board, day, server
        self._key = board_key(_TENANT, board.name)
        self._changes = sorted(at for table in board.sources for at in day.changes.get(table, ()))
        self._taken_up, self._as_of = bisect_right(self._changes, day.start), day.start
        self._costs = {report.name: cycle(costs_ms[report.name]) for report in board.reports}
        self._rings = {report.name: list(costs_ms[report.name])[:KEPT] for report in board.reports}
        self.known = {report.name: self._stored(report.name, day.start, timedelta(0)) for report in board.reports}
        server.refreshes += 1

    def look(self, now: datetime, visible: str, stretch: float, ours: frozenset[int], told: Replayed) -> datetime:
        """One look, and what it leads to; when the board is due next."""
        there = bisect_right(self._changes, now)
        waiting = self._changes[self._taken_up : there]
        marks = {self._key: MarkTimes(waiting[0], waiting[-1])} if waiting else {}
        seen = Probe(now, visible, marks, {self._key: self._as_of}, {self.board.name: ""})
        decision = decide_refresh(
            self.board, self.known, seen, self._key, watched=True, wanted=False, stretch=stretch, ours=ours
        )
        for name in decision.proved:
            known = self.known[name]
            self.known[name] = replace(known, verified=min(now, known.valid_until or now))
        if decision.due <= now:
            self._taken_up, self._as_of = there, now
            self._refresh(now)
            told.refreshes[self.board.name] += 1
            told.reasons[self.board.name, decision.why] += 1
        return decision.due

    def _refresh(self, now: datetime) -> None:
        for report in self.board.reports:
            name, former = report.name, self.known[report.name]
            cost_ms = next(self._costs[name])
            self._rings[name] = with_latest(self._rings[name], cost_ms)
            cost, rested = timedelta(milliseconds=cost_ms), now - former.as_of
            debt = debt_after(former.debt, rested=rested, share=report.max_db_share, cost=cost)
            self.known[name] = self._stored(name, now, debt)
        self._server.refreshes += 1

    def _stored(self, name: str, now: datetime, debt: timedelta) -> KnownSet:
        flips = self._day.flips.get(name, ())
        place = bisect_right(flips, now)
        return KnownSet(
            as_of=now,
            verified=now,
            valid_until=flips[place] if place < len(flips) else self._day.end,
            cost=timedelta(milliseconds=p95(self._rings[name])),
            debt=debt,
            visible=self._server.visible(now),
            xid=self._server.next(now),
            catalogue="",
        )
