"""The worker: arq's class with another way of moving jobs (the pump).

Here is what belongs to one process: its handlers, the tasks in which they run, their leases, and the shutdown.
On SIGTERM or SIGINT it claims nothing more, finishes what runs within the grace, hands the rest back uncharged,
and ends. What a worker that was killed held becomes claimable when its lease lapses.
"""

import asyncio
import math
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from arq.worker import Function, Worker as ArqWorker
from redis import Redis as BlockingRedis

from jobs import Policy
from producers.keys import LaneKeys
from producers.limit import LaneLimit, Limit
from producers.link import Link
from worker.engine import connection, heartbeat
from worker.engine.attempt import Effect, Ended, Handlers, attempt
from worker.engine.ceiling import Ceiling
from worker.engine.cron import Clock, Cron
from worker.engine.dataset import DataSet
from worker.engine.declared import declared
from worker.engine.lane import Claim, Completion, Lane, LaneSlots
from worker.engine.lease import Held, Renewal
from worker.engine.outcome import Outcome
from worker.engine.parking import Parking
from worker.engine.progress import Progress
from worker.engine.pump import Pump
from worker.engine.shard import Shard, parted
from worker.engine.store import Store
from worker.engine.wake import Wake
from worker.events import emit

_LAST_WORDS = 5.0
"""Seconds after the grace in which outcomes may still be recorded."""


class Worker(ArqWorker):
    """Runs the jobs of several lanes in one process.

    Args:
        functions: as arq's: coroutines or ``arq.func(...)``, named by the kind they handle.
        redis_url: see :mod:`producers.address` for its forms.
        lanes: which lanes, and how many jobs of each at a time.
        max_running: how many jobs of all lanes together; left out, as many as the lanes have slots. Below that, a
            free slot goes to the lane that has the least of its share.
        limits: defined when it starts, in place of what their keys were; fleet-wide.
        lane_limits: which of the limits the jobs of a lane need. Once given, a lane of this worker that is left
            out needs none; None leaves all as it is.
        policies: how each kind is tried again; others by arq's ``max_tries``.
        lease, renew_every: how long a claim holds, and how often it is extended.
        grace: how long running jobs may take to finish on shutdown.
        crash_limit: how many workers a job may take down before it is dead.
        max_run: after which a handler counts as wedged: its lease is no longer renewed, so that another worker
            takes the job, and what it still does is refused.
        crons: jobs of the clock; every worker may name the same ones.
        ctx: what every handler finds in its first argument.
        arq_arguments: hooks and the rest of arq's keyword arguments.

    Example:
        worker = Worker([send_mail], redis_url="redis://127.0.0.1:6379", lanes=[LaneSlots("mail.normal", 20)])
        await worker.async_run()
    """

    def __init__(  # noqa: PLR0913  keyword-only, and each has a default
        self,
        functions: Sequence[Function | Callable[..., Any]],
        *,
        redis_url: str,
        lanes: Sequence[LaneSlots],
        max_running: int | None = None,
        limits: Sequence[Limit] = (),
        lane_limits: Mapping[str, LaneLimit] | None = None,
        policies: Mapping[str, Policy] | None = None,
        lease: timedelta = timedelta(seconds=10),
        renew_every: timedelta = timedelta(seconds=3),
        grace: timedelta = timedelta(seconds=30),
        crash_limit: int = 3,
        max_run: timedelta = timedelta(hours=1),
        crons: Sequence[Cron] = (),
        **arq_arguments: Any,  # noqa: ANN401  arq's own keyword arguments, passed on as they are
    ) -> None:
        self.lanes = [Lane(LaneKeys(one.lane), one.slots, one.weight) for one in lanes]
        self._ceiling = Ceiling(self.lanes, max_running)
        self._declared = declared(self.lanes, limits, lane_limits)
        self.data = {lane.keys.tag: DataSet() for lane in self.lanes}
        self._grace = grace
        self._renew_every = renew_every
        self._max_run = max_run.total_seconds()
        self._stop_at = math.inf
        self._cancelled: set[str] = set()
        self.worker_id = uuid.uuid4().hex[:16]
        super().__init__(
            functions,
            queue_name=self.lanes[0].keys.queue,
            redis_settings=connection.arq_settings(redis_url),
            max_jobs=sum(lane.slots for lane in self.lanes),
            **arq_arguments,
        )
        self._pool = connection.commands(redis_url)
        self.shards = [
            self._shard(redis_url, tag, lanes, lease=lease, crash_limit=crash_limit, crons=crons)
            for tag, lanes in parted(self.lanes, redis_url)
        ]
        self._shard_of = {lane.name: shard for shard in self.shards for lane in shard.lanes}
        self._handlers = Handlers(
            functions={name: one for name, one in self.functions.items() if isinstance(one, Function)},
            policies=policies or {},
            default=Policy(tries=self.max_tries),
            context=self.ctx,
            keep_result=timedelta(seconds=self.keep_result_s),
            before=self.on_job_start,
            after=self.on_job_end,
        )

    def _shard(
        self,
        url: str,
        tag: str,
        lanes: Sequence[Lane],
        *,
        lease: timedelta,
        crash_limit: int,
        crons: Sequence[Cron],
    ) -> Shard:
        link = Link(url, tag)
        tags = {lane.keys.tag for lane in lanes}
        store = Store(
            link,
            worker_id=self.worker_id,
            lease=lease,
            crash_limit=crash_limit,
            declared={keys: changes for keys, changes in self._declared.items() if keys.tag in tags},
            data=self.data,
        )
        wake = Wake(Link(url, tag), link, self._woken)
        renewal = Renewal(
            connection.renewal(url, tag),
            lease=lease,
            every=self._renew_every,
            held=partial(self._held, lanes),
            on_lost=lambda ids: self._in_loop(self._stop_lost, ids),
            on_cancelled=lambda ids: self._in_loop(self._stop_cancelled, ids),
            report=partial(self._report, lanes),
            retract=partial(self._retract, lanes),
        )
        pump = Pump(lanes, store, wake, self._start, self._ceiling)
        parking = Parking(lanes, self.functions, store.release_parked, self._freed)
        pump.on_back = parking.look_again
        names = {lane.name for lane in lanes}
        clock = Clock(link, [cron for cron in crons if cron.lane in names])
        return Shard(lanes=lanes, store=store, wake=wake, pump=pump, renewal=renewal, clock=clock, parking=parking)

    async def main(self) -> None:
        """Work until a signal ends it. arq's ``run`` and ``async_run`` call this."""
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        for shard in self.shards:
            shard.renewal.start()
        background = [
            asyncio.create_task(one.run())
            for shard in self.shards
            for one in (shard.wake, shard.clock, shard.parking)
        ]
        for task in background:
            task.add_done_callback(_raise_fault)
        emit("worker.started", worker=self.worker_id, lanes=[lane.name for lane in self.lanes])
        try:
            await asyncio.gather(*(shard.pump.run(partial(self._finished, shard)) for shard in self.shards))
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            for shard in self.shards:
                shard.renewal.stop()
            emit("worker.stopped", worker=self.worker_id, done=self.jobs_complete, failed=self.jobs_failed)

    def handle_sig(self, signum: signal.Signals) -> None:
        """Stop claiming; finish what runs within the grace. A second signal changes nothing."""
        if not self.allow_pick_jobs:
            return
        emit("worker.stopping", signal=signal.Signals(signum).name, running=len(self.tasks))
        self.allow_pick_jobs = False
        self._stop_at = self.loop.time() + self._grace.total_seconds()
        self.loop.call_at(self._stop_at, self._hand_back)
        for shard in self.shards:
            shard.pump.claiming = False
            shard.pump.kick()

    handle_sig_wait_for_completion = handle_sig

    async def close(self) -> None:
        """Close the connections; arq's ``run`` calls this."""
        if self._pool is None:
            return
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        for shard in self.shards:
            await shard.close()
        await connection.close(self.pool)
        self._pool = None

    def _finished(self, shard: Shard) -> bool:
        if self.allow_pick_jobs:
            return False
        return shard.idle or self.loop.time() > self._stop_at + _LAST_WORDS

    def _start(self, lane: Lane, claim: Claim) -> None:
        lane.running[claim.id] = claim
        task = self.loop.create_task(self._run_claim(lane, claim))
        self.tasks[claim.id] = task
        task.add_done_callback(partial(self._ended, lane, claim))

    async def _run_claim(self, lane: Lane, claim: Claim) -> None:
        store = self._shard_of[lane.name].store
        effect = Effect(partial(store.begin_effect, claim, lane.keys.effects))
        progress = Progress(claim.attempt, partial(store.tell_progress, claim, lane.keys.progress), self.loop)
        self._settle(lane, claim, await attempt(claim, self._handlers, effect, progress))

    def _settle(self, lane: Lane, claim: Claim, ended: Ended) -> None:
        outcome = self._as_asked(claim.id, ended.outcome)
        del lane.running[claim.id]
        self._count(outcome)
        result = ended.result if outcome is ended.outcome else b""
        lane.ended.append(Completion(claim, outcome.kind, outcome.delay, result, ended.life, outcome.reason))

    def _as_asked(self, job_id: str, outcome: Outcome) -> Outcome:
        """A handler that was stopped because somebody cancelled its job does not go back to the queue."""
        if job_id not in self._cancelled:
            return outcome
        self._cancelled.discard(job_id)
        match outcome.kind:
            case "defer" | "park":
                return Outcome("cancelled")
            case "defer+" | "park+":
                return Outcome("cancelled+")
            case _:
                return outcome

    def _ended(self, lane: Lane, claim: Claim, task: "asyncio.Task[None]") -> None:
        del self.tasks[claim.id]
        if claim.id in lane.running:  # cancelled before its first step
            self._settle(lane, claim, Ended(Outcome("defer")))
        self._shard_of[lane.name].pump.kick()
        self._ceiling.changed()
        _raise_fault(task)

    def _count(self, outcome: Outcome) -> None:
        self.jobs_complete += outcome.kind == "done"
        self.jobs_failed += outcome.kind in {"dead", "dead+", "expired"}
        self.jobs_retried += outcome.kind in {"retry", "retry+", "defer", "defer+", "park", "park+"}

    def _hand_back(self) -> None:
        if self.tasks:
            emit("worker.handed_back", running=len(self.tasks))
        for task in self.tasks.values():
            task.cancel()

    def _freed(self, lane: Lane) -> None:
        lane.claimable = True
        self._shard_of[lane.name].pump.kick()

    def _woken(self, wake_key: str) -> None:
        self._freed(next(lane for lane in self.lanes if lane.keys.wake == wake_key))

    def _held(self, lanes: Sequence[Lane]) -> Held:
        """A snapshot for the renewal thread; ``list(dict.values())`` is one step of the interpreter."""
        held: Held = {}
        wedged: list[str] = []
        oldest = time.monotonic() - self._max_run
        for lane in lanes:
            claims = list(lane.running.values())
            held[lane.keys] = [(claim.id, claim.token) for claim in claims if claim.taken_at >= oldest]
            wedged += [claim.id for claim in claims if claim.taken_at < oldest]
        if wedged:
            self._in_loop(self._stop_wedged, wedged)
        return held

    def _report(self, lanes: Sequence[Lane], redis: BlockingRedis) -> None:
        heartbeat.report(redis, self.worker_id, lanes, self.data, every=self._renew_every)

    def _retract(self, lanes: Sequence[Lane], redis: BlockingRedis) -> None:
        heartbeat.retract(redis, self.worker_id, lanes)

    def _in_loop(self, stop: Callable[[list[str]], None], job_ids: list[str]) -> None:
        self.loop.call_soon_threadsafe(partial(stop, job_ids))

    def _stop_lost(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            if task := self.tasks.get(job_id):
                emit("job.lease_lost", job_id=job_id)
                task.cancel()

    def _stop_wedged(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            if task := self.tasks.get(job_id):
                emit("job.wedged", job_id=job_id, seconds=self._max_run)
                task.cancel()

    def _stop_cancelled(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            if task := self.tasks.get(job_id):
                self._cancelled.add(job_id)
                task.cancel()


def _raise_fault(task: "asyncio.Task[None]") -> None:
    """A fault of ours, not of a handler: the loop's exception handler reports it."""
    if not task.cancelled() and (fault := task.exception()):
        raise fault
