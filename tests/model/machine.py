"""The queue under random use: each step goes to the real scripts and to the model, and then all is compared.

Hypothesis draws the steps: producers, workers that claim, renew, finish, pause and die, people who cancel and
revive, payloads that vanish, time that passes, a server that forgets its scripts or starts again from its file.
After every step, on what the server holds:

    the model      its keys, contents and times to live are those of the model, to the millisecond
    conserved      accepted = done + suppressed + discarded + vanished + cancelled + expired + dead + queue
    kept           a payload exists if and only if its job has not ended; no unfinished job has a time to live
    fenced         what was answered to the holders of leases agrees with `Fence`, and claims come by due time
    limited        no more jobs of a limit run than it has places
    told           a lane that has something new has its wake token

When the steps are over, the rest is drained: every accepted request must have ended once, and nothing is left.

What is drawn never depends on what happened (a job is chosen by its place among the latest), so that a failure
can be played again and shrunk although the clock goes on. It is long because it is one list: each step is short.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from producers.entry import JobEntry
from producers.keys import LaneKeys
from tests.model.agreement import require_agreement
from tests.model.clock import step_clock
from tests.model.fence import Fence
from tests.model.product import Product
from tests.model.queue_model import QueueModel
from tests.model.server import Server
from tests.model.wire import OURS, read_keyspace
from worker.engine.lane import Claim

_Method = TypeVar("_Method", bound=Callable[..., None])

LANES = ("mail.normal", "mail.bulk")
KEYS = LaneKeys(LANES[0])
PLACES = {"customer:a": 1, "customer:b": 2}
LEASE = 10_000
CRASH_LIMIT = 3
HOUR, DAY = 3_600_000, 86_400_000
WINDOW = 60_000

lanes = st.sampled_from([LANES[0], LANES[0], LANES[1]])
places = st.integers(0, 7)
workers = st.integers(0, 1)
delays = st.sampled_from([0, 0, 0, 0, 0, 1_000, 15_000])
keys = st.sampled_from(["", "", "a", "b"])
limits = st.sampled_from(["", "", "", "", *PLACES])
heard = st.sampled_from([True, True, True, False])
asked = st.tuples(delays, keys, st.integers(0, 1), limits)
outcomes = st.sampled_from(
    [
        *("done", "dead", "retry", "defer", "park", "dead", "retry", "park", "expired", "suppressed"),
        *("dead+", "retry+", "defer+", "cancelled", "cancelled+"),
    ]
)


@dataclass(slots=True)
class Worker:
    """One worker process: what it knows of, and the claims whose reply it never got."""

    name: str
    claims: int = 0
    running: dict[str, Claim] = field(default_factory=dict)
    unheard: list[Claim] = field(default_factory=list)
    unheard_numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as it is drawn and printed."""

    name: str
    drawn: dict[str, Any]

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.drawn.items())
        return f"{self.name}({arguments})"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # noqa: FBT001  as IPython's printers call it
        printer.text(repr(self))


_KINDS: list[tuple[str, st.SearchStrategy[dict[str, Any]]]] = []


def _step(weight: int = 1, **drawn: st.SearchStrategy[Any]) -> Callable[[_Method], _Method]:
    """A kind of step, and how often it is drawn beside the others: without claims nothing happens."""

    def register(method: _Method) -> _Method:
        _KINDS.extend([(method.__name__, st.fixed_dictionaries(drawn))] * weight)
        return method

    return register


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """One rule for all kinds: to let Hypothesis choose among rules takes longer than the steps."""
    name, drawn = draw(st.sampled_from(_KINDS))
    return Step(name, draw(drawn))


class QueueMachine(RuleBasedStateMachine):
    """The steps."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        server.clear()
        self.server, self.wire = server, server.wire
        self.product = Product(self.wire, lease=LEASE, crash_limit=CRASH_LIMIT)
        self.model = QueueModel(LANES, lease=LEASE, crash_limit=CRASH_LIMIT, places=PLACES)
        self.fence = Fence()
        self.workers = [Worker(f"w{number}") for number in range(2)]
        self.passed = 0
        self.made = 0
        self.ids: list[str] = []
        self.claims: list[Claim] = []
        self.agreed = False
        self.product.define(KEYS, PLACES.items())
        self._compare()

    @rule(step=_steps())
    def take(self, step: Step) -> None:
        """One step, and what must hold after it."""
        getattr(self, step.name)(**step.drawn)
        self._compare()

    # Steps of producers

    @_step(4, lane=lanes, asked=st.lists(asked, min_size=1, max_size=4))
    def enqueue(self, lane: str, asked: list[tuple[int, str, int, str]]) -> None:
        entries = [self._entry(*one) for one in asked]
        told = self._heard(self.product.enqueue(lane, entries))
        rows = [
            (one.id, one.payload, one.delay_ms, one.key, one.fingerprint, one.window_ms, one.limit)
            for one in entries
        ]
        _require_same(told, self.model.enqueue(self.wire.now, lane, rows))

    @_step(3, name=st.sampled_from("ab"), delay=delays)
    def ask_for_the_latest(self, name: str, delay: int) -> None:
        entry = JobEntry(self._known(f"{KEYS.tag}refresh:{name}"), self._payload(), delay)
        told = self._heard(self.product.ask_latest(LANES[0], entry))
        _require_same(told, self.model.ask_latest(self.wire.now, LANES[0], entry.id, entry.payload, delay))

    @_step(
        2,
        lane=lanes,
        lasting=st.sampled_from([DAY, 3_000]),
        head=st.sampled_from([b'{"t":', b"\x80\x05"]),
        runs=st.booleans(),
    )
    def stock_arq(self, lane: str, lasting: int, head: bytes, runs: bool) -> None:  # noqa: FBT001  drawn by name
        """Its worker takes a job, and dies; or its producer brings one, in JSON or as a pickle."""
        if runs:
            self._run_at_arq(lane, lasting)
            return
        self.made += 1
        job_id, payload, due = self._known(f"arq{self.made:06}"), head + b"%d" % self.made, self.wire.now
        self._do(("SET", "arq:job:" + job_id, payload, "PX", lasting), ("ZADD", LaneKeys(lane).queue, due, job_id))
        self.model.arrive_from_arq(lane, job_id, payload, due, self.wire.now + lasting)

    def _run_at_arq(self, lane: str, lasting: int) -> None:
        if job := self.model.first_free(self.wire.now, lane):
            self._do(("SET", "arq:in-progress:" + job.id, "1", "NX", "PX", lasting))
            self.model.run_at_arq(job.id, until=self.wire.now + lasting)

    # Steps of workers

    @_step(8, worker=workers, lane=lanes, count=st.integers(1, 4), is_heard=heard)
    def claim(self, worker: int, lane: str, count: int, is_heard: bool) -> None:  # noqa: FBT001  drawn by name
        """A worker asks for jobs; sometimes the reply is lost on its way."""
        one = self.workers[worker]
        claims = self._claim(one, lane, count)
        if is_heard:
            one.running |= {claim.id: claim for claim in claims}
            self.claims = [*self.claims, *claims][-8:]
        else:
            one.unheard += claims
            one.unheard_numbers.append(one.claims)

    def _claim(self, worker: Worker, lane: str, count: int) -> list[Claim]:
        worker.claims += 1
        claims, next_due = self._heard(self.product.claim(worker.name, worker.claims, lane, count))
        told = [(one.id, one.payload, one.attempt, one.due_ms, one.effect) for one in claims]
        taken, scores = [one.id for one in claims], self._scores(lane)
        claimant = f"{worker.name}-{worker.claims}"
        _require_same(told, self.model.claim(self.wire.now, lane, claimant, count, taken=taken, scores=scores))
        self._require_next(lane, next_due)
        for one in claims:
            self.fence.grant(one.id, one.token, now=self._clock, until=self._clock + LEASE)
        return claims

    def _require_next(self, lane: str, told: int) -> None:
        """The claim said when to look again: not after the truth."""
        now, hold = self.wire.now, self.model.holds.get(lane, 0)
        if self.model.held(now, lane):
            _require_same(told, -1 if hold is None else hold)
            return
        truth = self.model.next_due(now, lane)
        assert truth is None or now <= told <= truth, f"look again at {told}, but {truth} is due"

    @_step(2, worker=workers)
    def renew(self, worker: int) -> None:
        one = self.workers[worker]
        for lane in LANES:
            held = [(claim.id, claim.token) for claim in one.running.values() if claim.lane == lane]
            if not held:
                continue
            lost, stop = self._heard(self.product.renew(lane, held))
            _require_same((lost, stop), self.model.renew(self.wire.now, held))
            for job_id, token in held:
                if job_id not in lost:
                    self.fence.prolong(job_id, token, now=self._clock, until=self._clock + LEASE)
        one.running = {job_id: claim for job_id, claim in one.running.items() if self._is_live(claim)}

    @_step(2, place=places)
    def begin_an_effect(self, place: int) -> None:
        if claim := self._chosen_claim(place):
            told = self._heard(self.product.begin_effect(claim))
            _require_same(told, self.model.begin_effect(claim.id, claim.token, claim.attempt))

    @_step(place=places)
    def tell_progress(self, place: int) -> None:
        if claim := self._chosen_claim(place):
            progress = {"done": self.made}
            told = self._heard(self.product.tell_progress(claim, progress))
            _require_same(told, self.model.tell_progress(claim.id, claim.token, progress))

    @_step(
        8, picked=st.lists(st.tuples(places, outcomes), min_size=1, max_size=4), delay=delays, result=st.booleans()
    )
    def finish(self, picked: list[tuple[int, str]], delay: int, result: bool) -> None:  # noqa: FBT001  drawn by name
        """Whoever thinks that he holds a job; many leases have lapsed, or their outcome was recorded before."""
        chosen = {
            claim.token: (claim, outcome) for place, outcome in picked if (claim := self._chosen_claim(place))
        }
        self._finish(list(chosen.values()), delay=delay, result=b'{"s":true}' if result else b"")

    def _finish(self, chosen: Sequence[tuple[Claim, str]], *, delay: int = 0, result: bytes = b"") -> None:
        for lane in LANES:
            endings = [
                (claim, outcome, delay, _note(claim) if outcome == "park" else result)
                for claim, outcome in chosen
                if claim.lane == lane
            ]
            if endings:
                self._finish_in(lane, endings)

    def _finish_in(self, lane: str, endings: Sequence[tuple[Claim, str, int, bytes]]) -> None:
        told = self._heard(self.product.finish(lane, endings))
        rows = [(one.id, one.token, outcome, delay, result, HOUR) for one, outcome, delay, result in endings]
        _require_same(told, self.model.finish(self.wire.now, rows))
        for stands, (claim, *_) in zip(told, endings, strict=True):
            if stands:
                self.fence.accept(claim.id, claim.token, now=self._clock)

    @_step(2, worker=workers, dies=st.booleans())
    def lose_touch(self, worker: int, dies: bool) -> None:  # noqa: FBT001  drawn by name
        """A worker dies with all that it runs; or hears again, and takes back what it never heard of."""
        one = self.workers[worker]
        if dies:
            self.workers[worker] = Worker(one.name, one.claims)
        elif one.unheard_numbers:
            self._take_back_unheard(one)

    def _take_back_unheard(self, one: Worker) -> None:
        for lane in LANES:
            told = self._heard(self.product.return_strays(lane, one.name, one.unheard_numbers))
            _require_same(told, self.model.return_strays(self.wire.now, lane, one.name, one.unheard_numbers))
        for claim in one.unheard:
            self.fence.take_back(claim.id, claim.token, now=self._clock)
        one.unheard, one.unheard_numbers = [], []

    @_step(lane=lanes, version=st.integers(1, 2))
    def start_a_worker(self, lane: str, version: int) -> None:
        """One that knows a kind up to this version, and lets go what waited for it."""
        told = self._heard(self.product.release_parked(lane, "kind", version))
        _require_same(told, self.model.release_parked(self.wire.now, lane, "kind", version))

    # Steps of people

    @_step(2, place=places, fate=st.sampled_from(["cancelled", "discarded"]))
    def take_out(self, place: int, fate: str) -> None:
        job_id = self._chosen(place)
        _require_same(
            self._heard(self.product.take_out(job_id, fate)), self.model.take_out(self.wire.now, job_id, fate)
        )

    @_step(2, place=places)
    def revive(self, place: int) -> None:
        job_id = self._chosen(place, among=self._dead())
        _require_same(self._heard(self.product.revive(job_id)), self.model.revive(self.wire.now, job_id))

    @_step(place=places)
    def unpark(self, place: int) -> None:
        job_id = self._chosen(place, among=[job.id for job in self.model.jobs.values() if job.parked])
        _require_same(self._heard(self.product.unpark(job_id)), self.model.unpark(self.wire.now, job_id))

    @_step(place=places, is_current=st.booleans())
    def edit(self, place: int, is_current: bool) -> None:  # noqa: FBT001  drawn by name
        """What was read before may have been edited by somebody else since."""
        job_id = self._chosen(place, among=self._dead())
        job, payload = self.model.jobs.get(job_id), self._payload()
        known = job.payload if job and job.payload and is_current else b"{}"
        told = self._heard(self.product.edit(job.lane if job else LANES[0], job_id, known, payload))
        _require_same(told, self.model.edit(job_id, known, payload))

    @_step(lane=lanes, seconds=st.sampled_from([0, 5, 0, None]))
    def hold(self, lane: str, seconds: int | None) -> None:
        """For some seconds, or until somebody releases it, who does so with 0."""
        if seconds == 0:
            _require_same(self._heard(self.product.release(lane)), self.model.release(lane))
            return
        self.product.hold(lane, seconds)
        self._heard(None)
        self.model.hold(lane, None if seconds is None else self.wire.now + seconds * 1_000)

    # Steps of the world

    @_step(4, milliseconds=st.sampled_from([1_000, 5_000, 9_999, 10_000, 10_001, 30_000, DAY]))
    def time_passes(self, milliseconds: int) -> None:
        step_clock(self.wire, milliseconds)
        self.passed += milliseconds
        self._heard(None)
        self.model.pass_time(milliseconds, self.wire.now)

    @_step(2, place=places, dead=st.booleans())
    def lose_a_payload(self, place: int, dead: bool) -> None:  # noqa: FBT001  drawn by name
        job_id = self._chosen(place, among=self._dead() if dead else [])
        if job_id in self.model.jobs:
            self._do(("DEL", "arq:job:" + job_id))
            self.model.lose_payload(job_id)

    @_step(restart=st.booleans())
    def the_server_forgets(self, restart: bool) -> None:  # noqa: FBT001  drawn by name
        """All that is not in its file; or its scripts."""
        if restart:
            self.server.restart()
        else:
            self.wire.forget_scripts()
        self._do(("PING",))

    # What must hold

    def _compare(self) -> None:
        self.server.steps += 1
        for lane in LANES:
            self.model.bring_forward(self._scores(lane))
        require_agreement(read_keyspace(self.wire.picture), self.model, now=self.wire.now)
        self.agreed = True

    def teardown(self) -> None:
        """In the end every accepted request has ended, once, or is dead for people to decide."""
        if not self.agreed:
            return  # it has failed before
        for lane in LANES:
            self.hold(lane, 0)
        for _ in range(20):
            if not any(self.model.queued(lane) for lane in LANES):
                break
            self._drain()
        unended = {request for request, fate in self.model.fates.items() if not fate}
        dead = {job.request for job in self.model.jobs.values()}
        assert unended == dead, f"accepted, and neither ended nor dead: {unended - dead}"

    def _drain(self) -> None:
        self.time_passes(DAY)
        for lane in LANES:
            self._finish([(one, "done") for one in self._claim(self.workers[0], lane, 100)])
        self._compare()

    # What the steps share

    def _heard(self, answer: Any) -> Any:
        """The answer; the model is told the time at which it was given."""
        self.agreed = False
        self.model.at(self.wire.now)
        return answer

    def _do(self, *commands: tuple[Any, ...]) -> None:
        """What others than the product do to the server."""
        self._heard(self.wire.step(*commands))

    @property
    def _clock(self) -> int:
        """Time that only goes forward."""
        return self.wire.now + self.passed

    def _scores(self, lane: str) -> dict[str, int]:
        """The lane's queue, as the server holds it."""
        return self.wire.zset(LaneKeys(lane).queue)

    def _entry(self, delay: int, key: str, content: int, limit: str) -> JobEntry:
        self.made += 1
        job_id = self._known(f"{KEYS.tag}{self.made:06}")
        fingerprint, window = (str(content) * 64, WINDOW) if key else ("", 0)
        return JobEntry(job_id, self._payload(), delay, key, fingerprint, window, limit=limit)

    def _payload(self) -> bytes:
        self.made += 1
        return OURS + b'1,"n":%d}' % self.made

    def _known(self, job_id: str) -> str:
        self.ids = [*(one for one in self.ids[-7:] if one != job_id), job_id]
        return job_id

    def _dead(self) -> list[str]:
        return [job.id for job in self.model.jobs.values() if job.dead_at is not None]

    def _chosen(self, place: int, *, among: Sequence[str] = ()) -> str:
        """One of these, or of the latest where there are none."""
        known = among or self.ids or [f"{KEYS.tag}nobody"]
        return known[-1 - place % len(known)]

    def _chosen_claim(self, place: int) -> Claim | None:
        """One of the latest, ended or not; at every second place of those alone that still have their lease."""
        live = [] if place % 2 else [claim for claim in self.claims if self._is_live(claim)]
        known = live or self.claims
        return known[-1 - place // 2 % len(known)] if known else None

    def _is_live(self, claim: Claim) -> bool:
        return self.model.holds_lease(claim.id, claim.token)


def _note(claim: Claim) -> bytes:
    """Why a job is parked: for a version that comes later; or for people, when it was tried before."""
    why, needs = ("version", f"kind@{claim.attempt}") if claim.attempt <= 2 else ("uncertain", "")
    return orjson.dumps({"why": why, "needs": needs, "reason": "why"})


def _require_same(told: object, expected: object) -> None:
    assert told == expected, f"the queue said {told!r}, the model {expected!r}"
