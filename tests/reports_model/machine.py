"""Stored reports under random use: rows change, clocks go on, workers die, and after every step all is compared.

Hypothesis draws the steps. The database, its triggers and Redis are real, and the worker's code is as it is; only
the database's ``now()`` is the machine's (tests/reports_model/clock.py). After every step, of every report:

    whole       all that is stored is what the slow computation says of the committed state at its ``as_of``, each
                document at its own instant too; heads, tombstones and compressed variants belong to their bodies
    forward     ``as_of``, generation and ``verified_us`` never go back, unless Redis lost everything or the
                database's clock was set back; the state does not even then
    unforgotten what is stored is what a refresh would store now, or the database knows that it is not
    proved      when a prober has said that a set is still true at an instant, the slow computation says so too
    told        by Redis's clock a reader tells its true age, whatever was done to the database's
    done        a refresh that nobody came in the way of has stored its own instant

A refresh may be interrupted at any of its awaits: by a crash, by the loss of a connection or of all of Redis, by
another worker's refresh, by a write, by the clock; or it is paused and goes on some steps later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from redis.exceptions import RedisError

from reports.boards import Board
from reports.triggers import board_key
from tests.reports_model.clock import TICK, era_of, in_era, next_midnight, order, to_us
from tests.reports_model.company import ROOT, Change, Company
from tests.reports_model.expected import expected
from tests.reports_model.interrupt import interrupted
from tests.reports_model.lab import TENANT, Lab, LabWorker
from tests.reports_model.partitions import PARTS, PartitionSteps
from tests.reports_model.stored import StoredSet, require_whole
from worker.engine import TryLater
from worker.reports.refresh import BoardOutcome, refresh_board

STARTS = (
    (datetime(2027, 3, 27, 22, 50, tzinfo=UTC), "Europe/Madrid"),
    (datetime(2027, 10, 30, 21, 55, tzinfo=UTC), "Europe/Madrid"),
    (datetime(2027, 11, 7, 3, 30, tzinfo=UTC), "America/New_York"),
    (datetime(2028, 2, 29, 18, 0, tzinfo=UTC), "Asia/Kolkata"),
    (datetime(2027, 6, 1, 4, 59, tzinfo=UTC), "America/Lima"),
)
_MINUTES = (-3_000, -1_440, -90, -1, 0, 0, 0, 1, 45, 1_000)

_LAST_ERA = 49
_SLEWED_US = 20_000
"""Clocks that are set by less are taken for slewed ones, and their latest answers for one clock's."""

places = st.integers(0, 7)
workers = st.integers(0, 1)
offsets = st.sampled_from(_MINUTES)
awaits = st.integers(1, 40)
ways = st.sampled_from(["crash", "crash", "postgres", "redis", "flush", "write", "refresh", "clock", "pause"])


class ReportsMachine(PartitionSteps):
    """The steps."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        self.paused: list[asyncio.Task[Any]] = []
        self.gates: list[asyncio.Event] = []
        self.stopped = -1
        self.removed: set[int] = set()
        self.slow_number = 0
        self.slow: Change | None = None
        self.former: dict[str, StoredSet] = {}
        self.known: dict[tuple[str, int, datetime], dict[int, dict[str, Any]]] = {}

    @initialize(start=st.sampled_from(STARTS))
    def begin(self, start: tuple[datetime, str]) -> None:
        self.now, self.zone = start
        self.era, self.time = 0, self.lab.time
        self.now = in_era(self.now, self.era)
        self.company = Company(self.now)
        self.lab.do(self.lab.clear(self.now))
        self.ahead_us, self.redis_set_us = [to_us(self.now)], -1
        self.waited_us, self.interrupting = 0, False
        self.set_back = ""
        """The clock that was set back since everything was stored."""

    def teardown(self) -> None:
        self.lab.do(self._end())

    async def _end(self) -> None:
        for gate, task in zip(self.gates, self.paused, strict=True):
            gate.set()
            task.cancel()
        await asyncio.gather(*self.paused, return_exceptions=True)
        if self.slow is not None:
            await self.lab.slow_writer.execute("ROLLBACK")

    # Steps of the company

    @rule(
        node=places,
        table=st.sampled_from(["checkins", "checkins", "blockers", "tasks", "employees"]),
        at=offsets,
        until=offsets,
    )
    def a_row_comes(self, node: int, table: str, at: int, until: int) -> None:
        """Some of them late: for an instant that is over; others for one that is to come."""
        self._write(self._row(table, self.company.node(node), at, until))

    @rule(
        table=st.sampled_from(["checkins", "blockers", "tasks", "employees"]),
        place=places,
        at=offsets,
        node=places,
    )
    def a_row_changes(self, table: str, place: int, at: int, node: int) -> None:
        former = self.company.chosen(table, place)
        if former is None:
            return
        change, instant = Change(), self._instant(at)
        match table:
            case "checkins":
                change.update(table, former, at=instant, node_id=self.company.node(node))
            case "employees":
                change.update(table, former, node_id=self.company.node(node))
            case _:
                begun = former["opened_at" if table == "blockers" else "created_at"]
                change.update(table, former, closed_at=None if former["closed_at"] else max(begun, instant))
        self._write(change)

    @rule(table=st.sampled_from(["checkins", "blockers", "tasks", "employees"]), place=places)
    def a_row_goes(self, table: str, place: int) -> None:
        if row := self.company.chosen(table, place):
            change = Change()
            change.delete(table, row["id"])
            self._write(change)

    @rule(parent=places)
    def a_node_comes(self, parent: int) -> None:
        """A new one, or one that was there before: its id comes back."""
        gone = sorted(self.removed - self.company.tables["nodes"].keys())
        node_id = gone[-1] if gone else self.company.new_id()
        change = Change()
        name = f"Equipo ñ {node_id}"
        change.insert(
            "nodes", {"id": node_id, "parent_id": self.company.node(parent), "name": name, "kind": "team"}
        )
        self._write(change)

    @rule(place=places, parent=places, name=st.sampled_from([None, "Ventas", "Compras"]))
    def a_node_moves(self, place: int, parent: int, name: str | None) -> None:
        """With all below it; or it is only called something else."""
        node = self.company.tables["nodes"][self.company.node(place)]
        change = Change()
        if name:
            change.update("nodes", node, name=name)
        elif node["id"] != ROOT and (target := self.company.node(parent)) not in self.company.below(node["id"]):
            change.update("nodes", node, parent_id=target)
        self._write(change)

    @rule(place=places)
    def a_node_goes(self, place: int) -> None:
        """What is on it and below it goes to the node above."""
        node = self.company.tables["nodes"][self.company.node(place)]
        if node["id"] == ROOT:
            return
        change = Change()
        for table, row in self.company.rows_on(node["id"]):
            change.update(table, row, node_id=node["parent_id"])
        for child in list(self.company.tables["nodes"].values()):
            if child["parent_id"] == node["id"]:
                change.update("nodes", child, parent_id=node["parent_id"])
        change.delete("nodes", node["id"])
        self.removed.add(node["id"])
        self._write(change)

    @rule(place=places, parent=places)
    def a_node_goes_and_comes_back(self, place: int, parent: int) -> None:
        """With a refresh in between: its tombstone must not outlive it."""
        self.a_node_goes(place)
        self.refresh(0, watched=True)
        self.all_is_as_it_must_be()
        self.a_node_comes(parent)
        self.refresh(0, watched=True)

    @rule(at=offsets)
    def somebody_writes_slowly(self, at: int) -> None:
        """A transaction that wrote before others and commits after them."""
        if self.slow is None:
            self.slow = self._row("checkins", ROOT, at, 0)
            self.lab.do(self._begin_slowly(self.slow))
        else:
            self._tick()
            self.lab.do(self.lab.slow_writer.execute("COMMIT"))
            self.company.commit(self.slow, self.now, self.slow_number)
            self.slow = None

    async def _begin_slowly(self, change: Change) -> None:
        await self.lab.slow_writer.execute("BEGIN")
        for sql, arguments in change.statements:
            await self.lab.slow_writer.execute(sql, *arguments)
        self.slow_number = int(await self.lab.slow_writer.fetchval("SELECT pg_current_xact_id()::text"))

    # Steps of time

    @rule(seconds=st.sampled_from([0.001, 1, 60, 2_700, 3_600, 30_000]))
    def time_passes(self, seconds: float) -> None:
        self._set_clock(self.now + timedelta(seconds=seconds))

    @rule(before=st.booleans())
    def midnight_comes(self, before: bool) -> None:  # noqa: FBT001  drawn by name
        """To the last instant of the day, or to the first of the next."""
        self._set_clock(
            max(self.now, next_midnight(self.now, ZoneInfo(self.zone)) - (TICK if before else timedelta(0)))
        )

    @rule(minutes=st.sampled_from([-3_000, -600, -90, -1, 1, 90, 600]))
    def the_database_s_clock_is_set(self, minutes: int) -> None:
        """Well before or after what is stored. Nobody waits: no time passes by it."""
        if self.era < _LAST_ERA and (minutes > 0 or self._is_set_back_alone("database")):
            as_ofs = [one.as_of for one in self._stored().values()]
            pick = min if minutes < 0 else max
            self.lab.do(self._set_database(pick([self.now, *as_ofs]) + timedelta(minutes=minutes)))

    async def _set_database(self, at: datetime) -> None:
        self.era += 1
        self.now = in_era(at, self.era)
        self.ahead_us.append(to_us(self.now) - self.time.running_us)
        await self.lab.set_clock(self.now)

    @rule(seconds=st.sampled_from([-7_200, -25, 25, 7_200]))
    def redis_s_clock_is_set(self, seconds: int) -> None:
        """By a time server, or by a failover to another machine."""
        if seconds < 0 and not self._is_set_back_alone("redis"):
            return
        self.time.redis_us += seconds * 1_000_000
        self.redis_set_us = self.time.running_us

    def _is_set_back_alone(self, clock: str) -> bool:
        """Whether the other clock was not set back since everything was stored.

        If both were, nothing shows which of two equal states is the later one (docs/reports.md).
        """
        alone = self.set_back in {"", clock}
        self.set_back = clock if alone else self.set_back
        return alone

    @rule(place=places)
    def a_due_date_passes(self, place: int) -> None:
        """To just after an instant that is in some row."""
        coming = sorted(
            value
            for rows in self.company.tables.values()
            for row in rows.values()
            for value in row.values()
            if isinstance(value, datetime) and value > self.now
        )
        if coming:
            self._set_clock(coming[place % len(coming)] + TICK)

    # Steps of the workers

    @rule(worker=workers, watched=st.booleans())
    def refresh(self, worker: int, watched: bool) -> None:  # noqa: FBT001  drawn by name
        all_done = True
        for board in self.boards:
            self._tick()
            done = self.lab.do(self._refresh(self._awake(worker), board, watched=watched))
            all_done = all_done and done
            if done or not self.paused:
                assert done, "nobody was in the way, and yet there was no refresh"
                self._require_done(board)
        if all_done:
            self.set_back = ""

    @rule(worker=workers, watched=st.booleans(), at=awaits, way=ways, place=places)
    def refresh_and_something_happens(self, worker: int, watched: bool, at: int, way: str, place: int) -> None:  # noqa: FBT001
        board, worker = self.boards[place % len(self.boards)], self._awake(worker)
        self._tick()
        if way == "pause":
            self.lab.do(self._pause(worker, board, watched=watched, at=at))
        else:
            meanwhile = partial(self._meanwhile, way, worker, board, place)
            self.lab.do(self._refresh(worker, board, watched=watched, at=at, meanwhile=meanwhile))
        self._forget_failures()

    @rule(worker=workers, watched=st.booleans())
    def refresh_as_well(self, worker: int, watched: bool) -> None:  # noqa: FBT001  drawn by name
        """Drawn twice as often as the rest: without it nothing happens."""
        self.refresh(worker, watched)

    @rule(worker=workers, watched=st.booleans(), at=awaits, way=ways, place=places)
    def something_happens_as_well(self, worker: int, watched: bool, at: int, way: str, place: int) -> None:  # noqa: FBT001
        self.refresh_and_something_happens(worker, watched, at, way, place)

    @rule()
    def the_paused_goes_on(self) -> None:
        if self.paused:
            self.lab.do(self._resume())
            self._forget_failures()

    @rule(worker=workers, changes=st.lists(st.tuples(places, st.integers(0, 5)), min_size=1, max_size=4))
    def one_worker_refreshes_after_each_change(self, worker: int, changes: list[tuple[int, int]]) -> None:
        """So it asks for some nodes: what it stored last is what is stored, and all marks are its own."""
        self.refresh(worker, watched=True)
        for place, what in changes:
            match what:
                case 0:
                    self.a_row_goes("checkins", place)
                case 1:
                    self.a_row_changes("tasks", place, -place, place + 1)
                case 2:
                    self.a_due_date_passes(place)
                case _:
                    table = ("blockers", "checkins", "employees")[place % 3]
                    self._write(self._row(table, self.company.node(place), -place, 0))
            self.refresh(worker, watched=True)
            self.all_is_as_it_must_be()

    @rule(worker=workers, watched=st.booleans(), at=st.integers(3, 35), place=places)
    def an_old_worker_wakes(self, worker: int, watched: bool, at: int, place: int) -> None:  # noqa: FBT001
        """It stood still while somebody wrote and another worker stored that; what it knows is of before."""
        self.the_paused_goes_on()
        board = self.boards[place % len(self.boards)]
        self._tick()
        self.lab.do(self._pause(worker, board, watched=watched, at=at))
        self._write(self._row("checkins", ROOT, 0, 0))
        self._write(self._row("blockers", ROOT, -1, 0))
        self.refresh(1 - worker, watched=False)
        self.all_is_as_it_must_be()
        self.the_paused_goes_on()

    @rule(watched=st.booleans())
    def probe(self, watched: bool) -> None:  # noqa: FBT001  drawn by name
        self._tick()
        self.lab.do(self.lab.workers[self._awake(0)].prober(self.zone, watched=watched).probe_once())

    @rule(worker=workers, watched=st.booleans(), damage=st.sampled_from(["cycle", "two roots", "no such node"]))
    def the_tree_is_damaged_for_a_while(self, worker: int, watched: bool, damage: str) -> None:  # noqa: FBT001
        """Nothing is stored meanwhile, and nothing that is stored is harmed."""
        hurt, table = {
            "cycle": ("INSERT INTO organisation.nodes VALUES (-1, -1, 'x', 'x')", "nodes"),
            "two roots": ("INSERT INTO organisation.nodes VALUES (-1, NULL, 'x', 'x')", "nodes"),
            "no such node": (
                "INSERT INTO organisation.employees VALUES (-1, -1, 'x', 'x', '2020-01-01')",
                "employees",
            ),
        }[damage]
        mend = f"DELETE FROM organisation.{table} WHERE id = -1"  # noqa: S608  one of two names
        harmed = self.lab.reports.keys() if table == "nodes" else {"management"}
        before = self._stored()
        self._tick()
        self.lab.do(self.lab.write([(hurt, ())]))
        for board in self.boards:
            self.lab.do(self._refresh(self._awake(worker), board, watched=watched))
        self._tick()
        self.lab.do(self.lab.write([(mend, ())]))
        after = self._stored()
        for name in harmed:
            assert (name in after) == (name in before)
            assert name not in after or after[name].data == before[name].data
        self._forget_failures()

    @rule(everything=st.booleans())
    def redis_is_lost(self, everything: bool) -> None:  # noqa: FBT001  drawn by name
        """Its data, or only its scripts and connections."""
        if everything:
            self._lose_redis()
        else:
            self.lab.redis.script_flush()
            for worker in self.lab.workers:
                worker.lose_redis()
            self.lab.do(asyncio.sleep(0))

    # What is true after every step

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        self.lab.steps += 1
        stored = self._stored()
        for name, one in stored.items():
            if (former := self.former.get(name)) is None or former.fields != one.fields:
                self.lab.snapshots[one.as_of] = one.meta["snapshot"]
                require_whole(one, partial(self._expected, name))
                self._require_forward(name, one)
                self._require_told(name, one)
        self.former = stored
        self._require_unforgotten(stored)

    def _require_forward(self, name: str, one: StoredSet) -> None:
        if (former := self.former.get(name)) is not None:
            assert order(one.as_of) >= order(former.as_of)
            assert one.generation >= former.generation
            assert self._place_of(one) >= self._place_of(former), "an earlier state came back"
            assert (order(one.as_of) > order(former.as_of)) == (one.generation > former.generation)
            assert order(one.verified) >= order(former.verified) or order(one.as_of) > order(former.as_of)
        if order(one.verified) > order(one.as_of) and one.verified == self.now:
            self.lab.proofs += 1
            now = self._reckoned(name, self.company.latest, one.verified)
            assert one.data == now, f"{name} was proved, and is not true"

    def _require_told(self, name: str, one: StoredSet) -> None:
        """Never too young; too old by what a worker waited in the middle of a reading, at most.

        Of what was stamped before Redis's clock was set a reader tells nothing for certain.
        """
        verified_us = to_us(one.verified)
        stamped_us = verified_us - self.ahead_us[era_of(one.verified)]
        if stamped_us > self.redis_set_us:
            now_us = self.time.running_us + self.time.redis_us + one.meta["clock_offset_us"]
            told_us = now_us - verified_us
            too_old_us = told_us - (self.time.running_us - stamped_us)
            assert -_SLEWED_US <= too_old_us <= _SLEWED_US + self.waited_us, (
                f"{name} would be told {told_us} us old, {too_old_us} us too old"
            )

    def _require_unforgotten(self, stored: dict[str, StoredSet]) -> None:
        changed = {
            name
            for name, one in stored.items()
            if one.data != self._reckoned(name, self.company.latest, one.as_of)
        }
        if not changed:
            return
        marks, taken = self.lab.do(self.lab.waiting())
        catalogue = self.lab.do(self.lab.catalogue())
        for name in changed:
            board = self._board_of(name).name
            key, proof, meta = board_key(TENANT, board), catalogue.proof(board), stored[name].meta
            by_marks = key in marks or key not in taken or order(taken[key]) > order(stored[name].as_of)
            otherwise = proof.kind != "marks" and meta["snapshot"] != catalogue.visible
            known = by_marks or otherwise or meta["catalogue"] != proof.digest
            assert known, f"nobody knows that {name} has changed"

    def _require_done(self, board: Board) -> None:
        stored = self._stored()
        for report in board.reports:
            assert stored[report.name].as_of == self.now, f"{report.name} was not stored"

    # Tools

    @property
    def boards(self) -> list[Board]:
        return list(self.lab.workers[0].refresher(self.zone, watched=True).boards.values())

    def _board_of(self, report: str) -> Board:
        return next(board for board in self.boards if any(one.name == report for one in board.reports))

    def _place_of(self, one: StoredSet) -> int:
        """Of the state that its refresh saw."""
        return self.company.place_in(one.meta["snapshot"])

    def _expected(self, name: str, instant: datetime) -> dict[int, dict[str, Any]]:
        """What was true when a set was computed: of the state that its refresh saw."""
        snapshot = self.lab.snapshots.get(instant)
        company = self.company
        return self._reckoned(name, company.place_in(snapshot) if snapshot else company.place_at(instant), instant)

    def _reckoned(self, name: str, place: int, instant: datetime) -> dict[int, dict[str, Any]]:
        """The slow computation of a committed state; a second time of the same state and instant, the former's."""
        key = name, place, instant
        if key not in self.known:
            self.known[key] = expected(name, self.company.state(place), now=instant, zone=self.zone)
        return self.known[key]

    def _stored(self) -> dict[str, StoredSet]:
        return self.lab.stored()

    def _awake(self, worker: int) -> int:
        """This worker, or the other one while it is paused: a process that stands still does nothing else."""
        return 1 - worker if worker == self.stopped else worker

    def _tick(self) -> None:
        self._set_clock(self.now + TICK)

    def _set_clock(self, at: datetime) -> None:
        self.lab.do(self._later(at - self.now))

    def _instant(self, minutes: int) -> datetime:
        return self.now + timedelta(minutes=minutes)

    def _row(self, table: str, node_id: int, at: int, until: int) -> Change:
        change, row_id, instant = Change(), self.company.new_id(), self._instant(at)
        while table == "checkins" and row_id % PARTS == self.away:
            row_id = self.company.new_id()
        employee = self.company.chosen("employees", row_id)
        person = employee["id"] if employee else 0
        end = None if until == 0 else max(instant, self._instant(until))
        row: dict[str, Any] = {"id": row_id, "node_id": node_id}
        match table:
            case "employees":
                row |= {"handle": f"u{row_id}", "role": "member", "joined_at": instant, "left_at": end}
            case "checkins":
                row |= {"employee_id": person, "at": instant, "kind": "office"}
            case "tasks":
                row |= {"created_at": instant, "due_at": self._instant(until), "status": "open", "closed_at": None}
            case _:
                row |= {"opened_at": instant, "closed_at": end, "kind": "other"}
        change.insert(table, row)
        return change

    def _write(self, change: Change) -> None:
        if change.statements:
            self._tick()
            self.company.commit(change, self.now, self.lab.do(self.lab.write(change.statements)))

    def _forget_failures(self) -> None:
        """The rest of what failed is over by the next step."""
        for name in self.lab.reports:
            self.lab.rest_is_over(name)

    def _lose_redis(self) -> None:
        self.lab.redis.flushall()
        self.former = {}

    async def _refresh(
        self,
        worker: int,
        board: Board,
        *,
        watched: bool,
        at: int = 0,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Whether it ran to its end, and stored something."""
        self.lab.refreshes += 1
        work = refresh_board(self.lab.workers[worker].refresher(self.zone, watched=watched), board)
        if meanwhile is not None:
            work = interrupted(work, at=at, meanwhile=meanwhile)
        task = asyncio.create_task(_as_coroutine(work))
        try:
            outcome: BoardOutcome = await task
        except (asyncio.CancelledError, TryLater, RedisError):
            return False
        for facts in outcome.reports.values():
            self.lab.computed[str(facts["computed"])] += 1
        return not outcome.failed and all(facts["state"] == "stored" for facts in outcome.reports.values())

    async def _meanwhile(self, way: str, worker: int, board: Board, place: int) -> None:
        self.lab.crashes += 1
        self.interrupting = True
        try:
            await self._interrupt(way, worker, board, place)
        finally:
            self.interrupting = False

    async def _interrupt(self, way: str, worker: int, board: Board, place: int) -> None:
        lab_worker: LabWorker = self.lab.workers[worker]
        match way:
            case "crash":
                raise asyncio.CancelledError
            case "postgres":
                lab_worker.lose_postgres()
            case "redis":
                lab_worker.lose_redis()
            case "flush":
                self._lose_redis()
            case "clock" if place % 2 or self.era >= _LAST_ERA or not self._is_set_back_alone("database"):
                await self._later(timedelta(hours=place))
            case "clock":
                await self._set_database(self.now - timedelta(hours=place + 1))
            case "write":
                change = self._row("checkins", ROOT, 0, 0)
                await self._later(TICK)
                self.company.commit(change, self.now, await self.lab.write(change.statements))
            case _ if self.stopped < 0:
                await self._later(TICK)
                await self._refresh(1 - worker, board, watched=bool(place % 2))

    async def _later(self, by: timedelta) -> None:
        before, self.now = self.now, in_era(self.now + by, self.era)
        passed_us = (self.now - before) // timedelta(microseconds=1)
        self.time.running_us += passed_us
        if self.interrupting or self.paused:
            self.waited_us += passed_us
        await self.lab.set_clock(self.now)

    async def _pause(self, worker: int, board: Board, *, watched: bool, at: int) -> None:
        """A worker that stops in the middle; at most one at a time."""
        if self.paused:
            return
        gate, reached = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            reached.set()
            await gate.wait()

        work = refresh_board(self.lab.workers[worker].refresher(self.zone, watched=watched), board)
        task = asyncio.create_task(_as_coroutine(interrupted(work, at=at, meanwhile=wait)))
        self.lab.refreshes += 1
        waiting = asyncio.create_task(reached.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self.paused, self.gates, self.stopped = [task], [gate], worker

    async def _resume(self) -> None:
        for gate in self.gates:
            gate.set()
        with suppress(TryLater, RedisError):
            await asyncio.gather(*self.paused)
        self.paused, self.gates, self.stopped = [], [], -1


async def _as_coroutine(work: Any) -> Any:
    """What a task can be made of."""
    return await work
