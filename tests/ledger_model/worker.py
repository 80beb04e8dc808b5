"""One worker: the product's parts for the ledger, its claims, and the effects that it begins."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import orjson

from producers.envelope import read_envelope
from producers.keys import LaneKeys
from producers.link import Link
from tests.ledger_model.fuse import WatchedLinks, WatchedTables, pass_place
from tests.ledger_model.oracle import BegunEffect
from tests.ledger_model.stores import LANES
from worker.engine.attempt import Effect
from worker.engine.dataset import DataSet
from worker.engine.effect_marks import EarlierEffect, JobHasEnded
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.store import CycleResult, JobStore
from worker.ledger.marks import LedgerMarks
from worker.ledger.reconcile import Reconciler
from worker.ledger.recorder import EndRecorder
from worker.ledger.relay import Relay

LEASE = timedelta(seconds=10)
CRASH_LIMIT = 3
_NO_TIME = timedelta(0)
_RESULT_LIFE = timedelta(days=7)
NOT_HAPPENED = frozenset({"retry", "defer", "park", "dead"})
"""Outcomes by which a handler says that its effect did not happen."""
State = Literal["claimed", "begun", "lost", "over", "earlier", "failed"]


@dataclass(slots=True, eq=False)
class HeldJob:
    """A job that a worker runs.

    Attributes:
        state: of its effect: not begun; begun; refused since the lease was lost, the job has ended, an earlier
            attempt may have had it, or a store did not answer.
    """

    claim: Claim
    effect: Effect
    state: State = "claimed"
    begun: BegunEffect | None = None


class ModelWorker:
    """A worker process; :meth:`die` is the end of it and the start of another."""

    def __init__(self, dsn: str, url: str, name: str) -> None:
        self.name, self.number = name, 0
        self.tables, self.links, self.link = WatchedTables(dsn), WatchedLinks(url), Link(url)
        self.die()

    def die(self) -> None:
        """Forget all that is in memory."""
        self.number += 1
        self.held: list[HeldJob] = []
        self.relay = Relay(self.tables, self.links)
        self.recorder = EndRecorder(self.tables, self.links)
        self.reconciler = Reconciler(self.tables, self.links)
        self.marks = LedgerMarks(self.tables)
        self.store = JobStore(
            self.link,
            worker_id=f"{self.name}{self.number}",
            lease=LEASE,
            crash_limit=CRASH_LIMIT,
            declared={LaneKeys(lane): [] for lane in LANES},
            data={LaneKeys(lane).tag: DataSet() for lane in LANES},
        )

    async def close(self) -> None:
        await self.links.close()
        await self.link.close()
        await self.tables.close()

    def lose_redis(self) -> None:
        """Lose the connections to Redis."""
        self.links.lose()
        self.link.drop()

    def let_pass(self, seconds: float) -> None:
        """Let so much time pass: a relay whose read was slow looks for earlier rows a second later."""
        self.relay._scan._again_at -= seconds

    async def claim(self, lane: str, count: int) -> list[HeldJob]:
        """Claim due jobs; of a Redis with other data once more, after its data was identified."""
        cycle = await self._claim(lane, count)
        if cycle.is_other_data:
            cycle = await self._claim(lane, count)
        _require_healthy(cycle)
        held = [self._hold(one) for one in cycle.claims]
        self.held += held
        return held

    async def _claim(self, lane: str, count: int) -> CycleResult:
        return await self.store.run_cycle([], [(_lane(lane), count)])

    def _hold(self, claim: Claim) -> HeldJob:
        effect = Effect(self._mark, claim, LaneKeys(claim.lane).effects)
        effect.mark_in_ledger(read_envelope(claim.payload).ledger_day, self.marks)
        return HeldJob(claim, effect)

    async def _mark(self, claim: Claim, effects: str, note: str) -> int:
        await pass_place("redis")
        made = await self.store.marks.make_mark(claim, effects, note)
        await pass_place("redis")
        return made

    async def begin(self, job: HeldJob) -> None:
        """Have both stores told that the effect begins; the job's state says what came of it."""
        try:
            job.state = "begun" if await job.effect.begin("primary") else "lost"
        except JobHasEnded:
            job.state = "over"
        except EarlierEffect:
            job.state = "earlier"
        except OSError:
            job.state = "failed"
        await pass_place()

    async def finish(self, job: HeldJob, outcome: str, *, delay: timedelta = _NO_TIME) -> bool:
        """Have the ledger know what became of the effect, and record an outcome; False if the lease was lost."""
        if outcome in NOT_HAPPENED:
            await job.effect.release()
        elif outcome.endswith("+"):
            await job.effect.count()
        await pass_place("redis")
        result = b'{"why":"uncertain","needs":"","reason":"why"}' if outcome == "park" else _result(job, outcome)
        ended = Completion(job.claim, outcome, delay, result, _RESULT_LIFE, "why")
        cycle = await self.store.run_cycle([(_lane(job.claim.lane), [ended])], [])
        _require_healthy(cycle)
        await pass_place("redis")
        return not cycle.refused


def _require_healthy(cycle: CycleResult) -> None:
    assert cycle.error is None, cycle
    assert not cycle.faults, cycle


def _lane(name: str) -> Lane:
    return Lane(LaneKeys(name), slots=100)


def _result(job: HeldJob, outcome: str) -> bytes:
    told = {"account": "primary", "reply": "250 OK"}
    return orjson.dumps({"t": job.claim.attempt, "s": outcome == "done", "o": outcome.rstrip("+"), "r": told})
