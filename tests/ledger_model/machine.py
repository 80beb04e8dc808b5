"""The ledger under random use: transactions, workers, operators and losses of Redis, on real stores.

Hypothesis draws the steps. Postgres, Redis and the worker's parts (relay, recorder, reconciler, marks, claims and
outcomes) are the product's; nothing is played but the handler of a job. A step may be ended between two statements
or round trips, meet a fault there, or rest there while others are taken. After each step the oracle
(tests/ledger_model/oracle.py) compares its sets with both stores; when the steps are over, all is run to its end.

Time passes for Redis as tests/model/clock.py says. What is drawn never depends on what happened, so that a failure
can be played again and made small.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ledger.conservation import compare_stores, return_lost
from ledger.retention_postgres import remove_days
from ops.jobs.operations import cancel_job, cancel_unknown, discard_job, revive_job
from tests.ledger_model.applications import Asked, By
from tests.ledger_model.fuse import Fuse, Store, Way
from tests.ledger_model.lab import After, Lab
from tests.ledger_model.oracle import END_STATES, Oracle
from tests.ledger_model.stores import LANES, Stores, go_back, let_pass, save
from tests.ledger_model.worker import NOT_HAPPENED, HeldJob, ModelWorker

_Method = TypeVar("_Method", bound=Callable[..., Awaitable[None]])
_DAY_MS = 86_400_000
_ROUNDS = 40
"""Rounds in which all must be over: each waits for the longest lease, delay and retry."""
_MOST_RESTING = 3

lanes = st.sampled_from([LANES[0], LANES[0], LANES[1]])
places = st.integers(0, 7)
pairs = st.integers(0, 1)
delays = st.sampled_from([0, 0, 0, 0, 20])
keys = st.sampled_from([None, None, None, "a", "b"])
asked = st.tuples(lanes, keys, st.integers(0, 1), delays)
ways = st.sampled_from(["crash", "crash", "fault", "pause", "pause"])
stops = st.sampled_from([*range(1, 9)] * 3 + [*range(9, 16), 19, 24, 30, 36, 42, 50])
fuses = st.one_of(st.none(), st.tuples(stops, ways))
_RESTS = {"relay": [2, 3, 3, 3, 4, 5], "record": [5, 6, 7, 8, 10], "search": [3, 4, 5, 6, 7]}
"""Places of a part between its first read and its commit."""
_BEHIND_PUSH = 5
_MEANWHILE = [
    ("run", "record", "empty"),
    ("run", "record", "search"),
    ("cancel", "relay"),
    ("record",),
    ("search", "relay"),
    ("empty", "search", "relay"),
    ("empty", "search"),
]
rests = st.sampled_from([(part, place) for part, places in _RESTS.items() for place in places])


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as it is drawn and printed."""

    name: str
    drawn: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.drawn.items())})"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # noqa: FBT001  as IPython's printers call it
        printer.text(repr(self))


_KINDS: list[tuple[str, st.SearchStrategy[dict[str, Any]]]] = []


def _step(weight: int = 1, **drawn: st.SearchStrategy[Any]) -> Callable[[_Method], _Method]:
    """A kind of step, and how often it is drawn beside the others."""

    def register(method: _Method) -> _Method:
        _KINDS.extend([(method.__name__, st.fixed_dictionaries(drawn))] * weight)
        return method

    return register


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """One rule for all kinds: to let Hypothesis choose among rules takes longer than the steps."""
    name, drawn = draw(st.sampled_from(_KINDS))
    return Step(name, draw(drawn))


class LedgerMachine(RuleBasedStateMachine):
    """The steps."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab, self.oracle = lab, Oracle()
        self.stores = Stores()
        self.ids: list[str] = []
        self.made = 0
        self.agreed = False
        self.steps: list[Step] = []
        with self._keeping_failure():
            lab.do(lab.clear())
            lab.do(self._compare())

    @rule(step=_steps())
    def take(self, step: Step) -> None:
        """One step, and what must hold after it."""
        self.agreed = False
        self.steps.append(step)
        self.lab.taken[step.name] += 1
        with self._keeping_failure():
            self.lab.do(getattr(self, step.name)(**step.drawn))
            self.lab.do(self._compare())

    @contextmanager
    def _keeping_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            steps = "".join(f"\n    {step}" for step in self.steps)
            self.lab.failure = self.lab.failure or f"First failure: {error}\nafter these steps:{steps}"
            raise

    async def _compare(self) -> None:
        self.lab.steps += 1
        self.stores = await self.lab.read()
        self.oracle.require(self.stores)
        self.agreed = True

    # Steps of applications

    @_step(
        6,
        number=pairs,
        jobs=st.lists(asked, min_size=1, max_size=3),
        by=st.sampled_from(["producer", "many", "sql"]),
        old=st.sampled_from([False, False, False, True]),
        commit=st.booleans(),
    )
    async def stage(
        self,
        *,
        number: int,
        jobs: Sequence[tuple[str, str | None, int, int]],
        by: By,
        old: bool,
        commit: bool,
    ) -> None:
        """Stage some in the open transaction, or in a new one, and perhaps commit it."""
        application = self.lab.applications[number]
        if not application.is_open:
            await application.begin()
            self.oracle.open[number] = set()
        messages = [self._asked(*one, keyed=by != "many") for one in jobs]
        if old:
            for worker in self.lab.workers:  # they may take a day for ended into which nobody stages any more
                worker.reconciler._ended_days.clear()
        await application.stage(messages, by, old=old)
        for one in messages:
            self.oracle.ask(one.noted("sql" if by == "sql" else "producer"), number)
        if commit:
            await self.end_transaction(number, "commit")

    @_step(3, number=pairs, how=st.sampled_from(["commit", "commit", "commit", "roll back", "die"]))
    async def end_transaction(self, number: int, how: str) -> None:
        application = self.lab.applications[number]
        if not application.is_open:
            return
        if how == "commit":
            await application.commit()
            self.oracle.commit(number)
            return
        if how == "die":
            application.die()
        else:
            await application.roll_back()
        self.oracle.roll_back(number)

    @_step(2, number=pairs, job=asked)
    async def stage_unheard(self, number: int, job: tuple[str, str | None, int, int]) -> None:
        """Redis takes a job and its reply is lost, so that there is a row as well."""
        one = self._asked(*job)
        if noted := await self.lab.applications[number].stage_unheard(one):
            self.oracle.ask(noted, number)

    def _asked(self, lane: str, key: str | None, content: int, delay: int, *, keyed: bool = True) -> Asked:
        self.made += 1
        job_id = f"{{{lane.partition('.')[0]}}}{self.made:04}"
        self.ids = [*self.ids[-7:], job_id]
        text = f"content {content}" if key and keyed else f"job {self.made}"
        return Asked(job_id, lane, text, key if keyed else None, timedelta(seconds=delay))

    # Steps of workers' parts for the ledger

    @_step(6, number=pairs, fuse=fuses)
    async def relay(self, number: int, fuse: tuple[int, Way] | None) -> None:
        worker = self.lab.workers[number]
        await self._take(worker.relay.move_batch, fuse, worker=worker)

    @_step(5, number=pairs, fuse=fuses)
    async def record(self, number: int, fuse: tuple[int, Way] | None) -> None:
        worker = self.lab.workers[number]
        await self._take(worker.recorder.record_all, fuse, worker=worker)

    @_step(4, number=pairs, periodic=st.sampled_from([False, False, True]), fuse=fuses)
    async def search(self, *, number: int, periodic: bool, fuse: tuple[int, Way] | None) -> None:
        """Search as a worker does each second, or as it does every five minutes."""
        worker = self.lab.workers[number]
        for lane in LANES:
            await worker.claim(lane, 0)  # as each worker does each second: Redis' data has an id again
        note = self._noting_search(fuse, took_out=not periodic)
        reconciler = worker.reconciler
        await self._take(reconciler.return_lost if periodic else reconciler._look, fuse, note, worker)

    def _noting_search(self, fuse: tuple[int, Way] | None, *, took_out: bool) -> After:
        """What to note behind a search. Beside a step that rests it may miss what that holds, for the next one."""
        losses, is_alone = self.oracle.losses, not (self.lab.resting or (fuse and fuse[1] == "pause"))

        async def note(_: object) -> None:
            if is_alone and losses == self.oracle.losses:
                self.oracle.search((await self.lab.read()).stopping if took_out else None)

        return note

    @_step(6, number=pairs, rests=rests, dies=st.booleans(), meanwhile=st.sampled_from(_MEANWHILE))
    async def while_one_rests(
        self,
        *,
        number: int,
        rests: tuple[str, int],
        dies: bool,
        meanwhile: Sequence[str],
    ) -> None:
        """A part rests half done while the other worker goes on, perhaps after a relay died behind its push.

        Single steps come to it too, but seldom.
        """
        if dies:
            await self.relay(1 - number, (_BEHIND_PUSH, "crash"))
        await self._work(rests[0], number, (rests[1], "pause"))
        for one in meanwhile:
            await self._compare()
            await self._work(one, 1 - number, None)
        await self._compare()
        await self.lab.resume_all()

    async def _work(self, part: str, number: int, fuse: tuple[int, Way] | None) -> None:
        match part:
            case "relay":
                await self.relay(number, fuse)
            case "record":
                await self.record(number, fuse)
            case "search":
                await self.search(number=number, periodic=True, fuse=fuse)
            case "empty":
                await self.redis_is_emptied()
            case "run":
                await self._run_some(number)
            case "cancel":
                for place in range(len(self.ids)):
                    await self.cancel(place, None)

    async def _run_some(self, number: int) -> None:
        """Claim some jobs, whose effects happen."""
        for lane in LANES:
            await self.claim(number, lane, 4)
        for _ in list(self.lab.workers[number].held):
            await self.finish(number=number, place=0, how="done", unknown=False, delay=0, fuse=None)

    # Steps of workers' jobs

    @_step(6, number=pairs, lane=lanes, count=st.integers(1, 4))
    async def claim(self, number: int, lane: str, count: int) -> None:
        self.stores = await self.lab.read()
        for job in await self.lab.workers[number].claim(lane, count):
            self.oracle.claim(job.claim.id, job.claim.effect, self.stores)

    @_step(6, number=pairs, place=places, fuse=fuses)
    async def begin_effect(self, number: int, place: int, fuse: tuple[int, Way] | None) -> None:
        worker = self.lab.workers[number]
        waiting = [one for one in worker.held if one.state == "claimed"]
        if not waiting or any(one.worker is worker for one in self.lab.resting):
            return  # marks of one worker leave together: behind one that rests, another would wait
        job = waiting[place % len(waiting)]
        stores = self.stores

        async def note(_: object) -> None:
            stores.counted |= self.stores.counted
            self._note_begin(job, stores)

        of: Store = "redis" if fuse and fuse[0] % 2 else "postgres"
        await self._take(lambda: worker.begin(job), fuse and ((fuse[0] + 1) // 2, fuse[1]), note, worker, of)

    def _note_begin(self, job: HeldJob, stores: Stores) -> None:
        claim = job.claim
        if job.state == "begun":
            has_row = job.effect._day is not None
            job.begun = self.oracle.begin(claim.id, claim.attempt, stores, is_marked=has_row)
        elif job.state == "earlier":
            self.oracle.see_all(claim.id)

    @_step(
        7,
        number=pairs,
        place=places,
        how=st.sampled_from(["done", "done", "dead", "again", "later", "park"]),
        unknown=st.booleans(),
        delay=st.sampled_from([0, 0, 0, 20]),
        fuse=fuses,
    )
    async def finish(
        self,
        *,
        number: int,
        place: int,
        how: str,
        unknown: bool,
        delay: int,
        fuse: tuple[int, Way] | None,
    ) -> None:
        """A handler ends. Its effect happened, or certainly did not, or nobody knows."""
        worker = self.lab.workers[number]
        if not worker.held:
            return
        job = worker.held[place % len(worker.held)]
        outcome = _outcome(job, how, unknown=unknown)
        if outcome in NOT_HAPPENED and job.begun:
            self.oracle.take_back(job.claim.id, job.begun)
            job.begun = None
        self.oracle.offer(job.claim.id, outcome)

        async def end() -> bool:
            return await worker.finish(job, outcome, delay=timedelta(seconds=delay))

        async def note(is_recorded: bool) -> None:  # noqa: FBT001  a reply
            self._note_finish(job, outcome, is_recorded=is_recorded)

        worker.held.remove(job)
        await self._take(end, fuse if fuse and fuse[1] != "pause" else None, note, worker)

    def _note_finish(self, job: HeldJob, outcome: str, *, is_recorded: bool) -> None:
        if not is_recorded:
            return
        if outcome.endswith("+"):
            self.oracle.see_all(job.claim.id)
        if outcome.rstrip("+") in END_STATES:
            self.oracle.end(job.claim.id, outcome.rstrip("+"))

    @_step(2, number=pairs)
    async def die(self, number: int) -> None:
        """A worker ends as by SIGKILL, with all that it runs."""
        await self._die(self.lab.workers[number])

    # Steps of operators

    @_step(2, place=places, fuse=fuses)
    async def revive(self, place: int, fuse: tuple[int, Way] | None) -> None:
        dead = sorted(self.stores.dead | {one for one, end in self.stores.ends.items() if end[0] == "dead"})
        if not dead:
            return
        job_id = dead[place % len(dead)]
        self.oracle.revive(job_id)

        async def revive() -> None:
            async with self.lab.desk() as ledger:
                await revive_job(self.lab.operators_redis, job_id, ledger=ledger)

        await self._take(revive, fuse)

    @_step(2, place=places, fuse=fuses)
    async def cancel(self, place: int, fuse: tuple[int, Way] | None) -> None:
        if not self.ids:
            return
        job_id = self.ids[place % len(self.ids)]
        if job_id in self.oracle.asked:
            self.oracle.asked[job_id].given.add("cancelled")

        async def cancel() -> str:
            what, _ = await cancel_job(self.lab.operators_redis, job_id)
            if what == "unknown":
                async with self.lab.desk() as ledger:
                    what, _ = await cancel_unknown(ledger, self.lab.operators_redis, job_id)
            return what

        async def note(what: str) -> None:
            if what == "gone":
                self.oracle.take_out(job_id, "cancelled", self.stores)
            elif what in ("stopping", "told"):
                self.oracle.stop(job_id, self.stores)

        await self._take(cancel, fuse, note)

    @_step(place=places)
    async def discard(self, place: int) -> None:
        if self.stores.dead:
            job_id = sorted(self.stores.dead)[place % len(self.stores.dead)]
            what, _ = await discard_job(self.lab.operators_redis, job_id)
            if what == "gone":
                self.oracle.take_out(job_id, "discarded", self.stores)

    @_step(fuse=fuses)
    async def reconcile(self, fuse: tuple[int, Way] | None) -> None:
        """./run ops ledger reconcile."""

        async def reconcile() -> None:
            async with self.lab.desk() as ledger:
                found = await compare_stores(ledger, self.lab.operators_redis)
                await return_lost(ledger, found)

        await self._take(reconcile, fuse, self._noting_search(fuse, took_out=False))

    @_step()
    async def check(self) -> None:
        """./run ops ledger check names what differs, and nothing else."""
        if self.lab.resting:
            return
        found = await compare_stores(self.lab.connection, self.lab.redis)
        stores, told = self.stores, {(one.id, one.fault) for one in found.disagreements}
        expected = {(one, "lost") for one in stores.lost} | {(one, "ended") for one in stores.stale}
        expected |= {(one, "stray") for one in stores.live - stores.jobs.keys()}
        assert told == expected, f"check names {told}, and the stores differ in {expected}"
        counts = found.jobs, found.ended, found.pending, found.live, found.unrecorded
        sets = stores.jobs, stores.ends, stores.pending, stores.live, stores.unrecorded
        assert counts == tuple(len(one) for one in sets), f"check counts {counts}"

    @_step()
    async def retain(self) -> None:
        """./run ops ledger retain, with the least age."""
        if self.lab.resting:
            return
        before = datetime.now(UTC).date() - timedelta(days=1)
        found = {one.day: one.outcome for one in await remove_days(self.lab.connection, before)}
        for day in {one for one in self.stores.jobs.values() if one < before}:
            ids = {job_id for job_id, its_day in self.stores.jobs.items() if its_day == day}
            fate = "removed" if ids <= self.stores.ends.keys() else "live"
            assert found.get(day) == fate, (
                f"{day} is {found.get(day)}, and its live jobs: {ids - self.stores.ends.keys()}"
            )
            if fate == "removed":
                self.oracle.remove(ids)
                self.lab.saved = None  # no Redis goes back by days

    # Steps of the world

    @_step(3, milliseconds=st.sampled_from([1_000, 10_000, 10_001, 30_000]))
    async def time_passes(self, milliseconds: int) -> None:
        await let_pass(self.lab.redis, milliseconds)
        self.lab.passed_ms += milliseconds
        for one in self.lab.workers:
            one.let_pass(milliseconds / 1000)

    @_step()
    async def redis_is_emptied(self) -> None:
        await self.lab.redis.flushall()
        self.oracle.lose_redis(())

    @_step(2)
    async def redis_is_saved(self) -> None:
        self.lab.saved = await save(self.lab.redis, self.lab.passed_ms)

    @_step(2)
    async def redis_goes_back(self) -> None:
        if self.lab.saved is None:
            return
        await go_back(self.lab.redis, self.lab.saved, self.lab.passed_ms)
        for one in self.lab.workers:
            one.lose_redis()
        self.oracle.lose_redis((await self.lab.read()).live)

    @_step(3)
    async def what_rests_goes_on(self) -> None:
        await self.lab.resume_all()

    # What the steps share

    async def _take(
        self,
        work: Callable[[], Awaitable[Any]],
        drawn: tuple[int, Way] | None,
        after: After | None = None,
        worker: ModelWorker | None = None,
        of: Store | Literal[""] = "",
    ) -> None:
        if drawn and drawn[1] == "pause" and len(self.lab.resting) >= _MOST_RESTING:
            drawn = None
        told = await self.lab.take(work, Fuse(*drawn, of) if drawn else Fuse(), after or _note_nothing, worker)
        self.lab.taken[told] += 1
        if told == "crash" and worker:
            await self._die(worker)

    async def _die(self, worker: ModelWorker) -> None:
        resting = [one for one in self.lab.resting if one.worker is worker]
        for one in resting:
            one.task.cancel()
            self.lab.resting.remove(one)
        for one in resting:
            await _ended(one.task)
        worker.die()

    # In the end

    def teardown(self) -> None:
        """Run all to its end; every committed job has ended once, and both stores agree."""
        if self.agreed:
            with self._keeping_failure():
                self.lab.do(self._end_all())

    async def _end_all(self) -> None:
        await self.lab.resume_all()
        for number, application in enumerate(self.lab.applications):
            if application.is_open:
                await application.roll_back()
                self.oracle.roll_back(number)
        worker = self.lab.workers[0]
        for _ in range(_ROUNDS):
            await self._run_round(worker)
            if await self._is_over():
                break
        self.oracle.require_over(self.stores)
        await self.check()

    async def _is_over(self) -> bool:
        await self._compare()
        stores = self.stores
        return not (stores.pending or stores.live or stores.unrecorded or stores.queued)

    async def _run_round(self, worker: ModelWorker) -> None:
        """All that workers do, and a day that passes."""
        for periodic in (False, True):
            await self.search(number=0, periodic=periodic, fuse=None)
        for _ in range(_ROUNDS):
            if not await worker.relay.move_batch():
                break
        await self.time_passes(_DAY_MS // 8)
        for lane in LANES:
            await self.claim(0, lane, 100)
        for job in list(worker.held):
            self.stores = await self.lab.read()
            if job.state == "claimed":
                await worker.begin(job)
                self._note_begin(job, self.stores)
            worker.held.remove(job)
            outcome = _outcome(job, "done", unknown=False)
            self.oracle.offer(job.claim.id, outcome)
            self._note_finish(job, outcome, is_recorded=await worker.finish(job, outcome))
        await worker.recorder.record_all()


def _outcome(job: HeldJob, how: str, *, unknown: bool) -> str:
    """What a handler comes to, by what it knows of its effect."""
    plain = {"done": "done", "dead": "dead", "again": "retry", "later": "defer", "park": "park"}[how]
    match job.state:
        case "over":
            return "suppressed"
        case "earlier":
            return "dead+" if plain == "dead" else "retry+"
        case "failed" | "lost":
            return "defer" if plain == "defer" else "retry"
        case "begun" if unknown and plain != "done":
            return "dead+" if plain == "dead" else "retry+"
    return plain


async def _note_nothing(_: object) -> None:
    """Nothing is to be noted of what this step did: the stores say it."""


async def _ended(task: Any) -> None:
    with suppress(BaseException):
        await task
