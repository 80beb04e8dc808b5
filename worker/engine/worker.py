"""The worker: arq's class with another way of moving jobs (the pump).

This module has the parts of one process: handlers, their tasks and leases, and the shutdown. On SIGTERM or SIGINT
the worker stops claiming, lets running jobs finish within the grace, returns the others to the queue uncharged,
and ends. The jobs of a killed worker become claimable when their leases lapse.
"""

import asyncio
import math
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from arq.worker import Function, Worker as ArqWorker

import background
from jobs import Policy
from metrics.service_manager import STOPPING, send_notice
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit
from producers.link import Link
from producers.link.sync import Calls
from worker.engine import connection, heartbeat
from worker.engine.attempt import Attempt, Effect, Handlers
from worker.engine.cron import Cron, CronClock
from worker.engine.dataset import DataSet
from worker.engine.effect_marks import EffectMarks, LedgerMarking
from worker.engine.exit_deadline import ExitDeadline, run_to_its_end
from worker.engine.job_counts import JobCounts
from worker.engine.lane import Claim, Lane, LaneSlots
from worker.engine.lease import Renewal, RunningClaims
from worker.engine.limit_declarations import limit_declarations
from worker.engine.orders import LoopProbe, Order, OrderBook, WorkState
from worker.engine.outcome import Outcome
from worker.engine.parking import Parking
from worker.engine.progress import Progress
from worker.engine.pump import Pump
from worker.engine.recent_waits import RecentWaits
from worker.engine.runner import Runner
from worker.engine.shard import Shard, group_lanes
from worker.engine.shared_slots import SharedSlots
from worker.engine.standing_claim import StandingClaim
from worker.engine.store import JobStore
from worker.engine.wake import Wake
from worker.events import emit, event

_WORKER_QUIET = event("worker.quiet")
_WORKER_RESUMED = event("worker.resumed")
_WORKER_STARTED = event("worker.started")
_WORKER_STOPPED = event("worker.stopped")
_WORKER_STOPPING = event("worker.stopping")

_RECORDING_TIME = timedelta(seconds=4.5)
"""Time after the grace in which outcomes may still be recorded."""
_EXIT_TIME = timedelta(seconds=5)
"""Time after the grace until the process is terminated, even if handlers still run."""
_ARQ_ARGUMENTS = frozenset(
    {
        *("on_startup", "on_shutdown", "on_job_start", "on_job_end", "handle_signals", "ctx"),
        *("max_tries", "keep_result", "keep_result_forever"),
    }
)
"""arq's arguments that have the same meaning here."""


_Tools = tuple[
    Callable[[Claim, str, str], Awaitable[int]], Callable[[Claim, str, bytes], Awaitable[object]], tuple[str, str]
]


def _tools(lane: str, store: JobStore) -> _Tools:
    """Return two functions and their keys for the attempts of a lane, built once instead of for each job."""
    keys = LaneKeys(lane)
    return store.marks.make_mark, store.write_progress, (keys.effects, keys.progress)


class Worker(ArqWorker):
    """A worker for the jobs of several lanes in one process.

    Args:
        functions: as in arq: coroutines or ``arq.func(...)``, named by the kind they handle.
        redis_url: see :mod:`producers.link.address` for its forms.
        lanes: the lanes, with the number of jobs of each at a time.
        max_running: the largest number of running jobs of all lanes together; left out, the sum of their slots.
            Under this ceiling, a free slot goes to the lane furthest below its share.
        limits: fleet-wide limits, defined at the start; they replace earlier definitions under their keys.
        lane_limits: the limits that the jobs of each lane need. If given, a lane of this worker that is left out
            needs none; None leaves all bindings unchanged.
        policies: the retry policy of each kind; other kinds follow arq's ``max_tries``.
        lease, renew_every: duration of a lease, and the interval of its renewal.
        grace: time for running jobs to finish on shutdown.
        crash_limit: number of workers that a job may crash before it is dead; a worker that was only delayed
            beyond its lease, and reports that afterwards, counts as a tenth.
        confirm_replicas: number of replicas that must have the mark of an effect before it may begin.
        max_run: time after which a handler counts as wedged: its lease is no longer renewed, so that another
            worker claims the job, and its later outcome is refused; the attempt is charged.
        job_timeout: the time limit of an attempt, in seconds if it is a number, unless ``arq.func(timeout=...)``
            sets one; left out, ``max_run`` applies. A timeout is a failure like any other.
        ledger_marks: the ledger's marks, stored for effects of its jobs too; left out, no such effect may begin
            here.
        crons: scheduled jobs; every worker may have the same ones.
        facts: further facts for the heartbeats.
        ctx: the entries of every handler's first argument.
        arq_arguments: arq's hooks, ``ctx``, ``max_tries``, ``keep_result``, ``keep_result_forever``, and
            ``handle_signals``: with it, which is the default, the process ends 5 s after the grace.

    Raises:
        TypeError: another argument of arq's worker, without meaning here.

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
        confirm_replicas: int = 0,
        max_run: timedelta = timedelta(hours=1),
        job_timeout: timedelta | float | None = None,
        ledger_marks: LedgerMarking | None = None,
        crons: Sequence[Cron] = (),
        facts: Mapping[str, object] | None = None,
        **arq_arguments: Any,  # noqa: ANN401  arq's own keyword arguments, passed on as they are
    ) -> None:
        if unknown := sorted(set(arq_arguments) - _ARQ_ARGUMENTS):
            allowed = ", ".join(sorted(_ARQ_ARGUMENTS))
            raise TypeError(f"{unknown[0]}: is not an argument of a lane worker; allowed: {allowed}")
        self.lanes = [Lane(LaneKeys(one.lane), one.slots, one.weight) for one in lanes]
        self._ceiling = SharedSlots(self.lanes, max_running)
        self._declared = limit_declarations(self.lanes, limits, lane_limits)
        self.data = {lane.keys.tag: DataSet() for lane in self.lanes}
        self._grace, self._confirm_replicas = grace, confirm_replicas
        self._renew_every = renew_every
        self._max_run = max_run
        self._stop_at = math.inf
        self._facts = dict(facts or {})
        self._orders, self._quiet = OrderBook(), False
        self._exit = ExitDeadline(grace + _EXIT_TIME)
        self._time_limit = timedelta(seconds=job_timeout) if isinstance(job_timeout, int | float) else job_timeout
        self.worker_id = uuid.uuid4().hex[:16]
        super().__init__(
            functions,
            queue_name=self.lanes[0].keys.queue,
            redis_settings=connection.arq_settings(redis_url),
            max_jobs=sum(lane.slots for lane in self.lanes),
            **arq_arguments,
        )
        self._pool = connection.open_redis(redis_url)
        self.counts = JobCounts(self.functions)
        self._recent_waits = RecentWaits(self.counts)
        self.runner = Runner(
            self._handlers(policies or {}, ledger_marks),
            self.loop,
            prepare=self._attempt,
            settled=self._count,
            ended=self._slot_free,
        )
        self._stop_attempt = self.runner.stop_attempt  # bound once, not for each attempt
        self.shards = [
            self._shard(redis_url, tag, lanes, lease=lease, crash_limit=crash_limit, crons=crons)
            for tag, lanes in group_lanes(self.lanes, redis_url)
        ]
        self._shard_of = {lane.name: shard for shard in self.shards for lane in shard.lanes}
        self._tools = {name: _tools(name, shard.store) for name, shard in self._shard_of.items()}

    def _handlers(self, policies: Mapping[str, Policy], ledger_marks: LedgerMarking | None) -> Handlers:
        functions = {name: one for name, one in self.functions.items() if isinstance(one, Function)}
        own = {name: Policy(tries=one.max_tries) for name, one in functions.items() if one.max_tries is not None}
        return Handlers(
            functions=functions,
            policies={**own, **policies},
            default=Policy(tries=self.max_tries),
            context=self.ctx,
            keep_result=timedelta(seconds=self.keep_result_s),
            keep_for_good=self.keep_result_forever,
            time_limit=self._time_limit,
            before=self.on_job_start,
            after=self.on_job_end,
            ledger_marks=ledger_marks,
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
        store = JobStore(
            link,
            worker_id=self.worker_id,
            lease=lease,
            crash_limit=crash_limit,
            declared={keys: changes for keys, changes in self._declared.items() if keys.tag in tags},
            data=self.data,
            marks=self._marks(url, tag, link),
        )
        wake = Wake(Link(url, tag), link, self._woken, StandingClaim(lanes, store, self._ceiling))
        renewal = Renewal(
            connection.open_renewal_link(url, tag),
            lease=lease,
            every=self._renew_every,
            held=partial(self._held, lanes),
            on_lost=lambda lost: self._in_loop(self.runner.stop_lost, lost),
            on_cancelled=lambda cancelled: self._in_loop(self.runner.stop_cancelled, cancelled),
            report=partial(self._report, lanes, LoopProbe(self.loop)),
            retract=partial(self._retract, lanes),
        )
        pump = Pump(lanes, store, wake, self.runner.start_attempt, self._ceiling)
        parking = Parking(lanes, self.functions, store.release_parked, self._freed)
        pump.on_back = parking.release_now
        names = {lane.name for lane in lanes}
        clock = CronClock(link, [cron for cron in crons if cron.lane in names])
        return Shard(lanes=lanes, store=store, wake=wake, pump=pump, renewal=renewal, clock=clock, parking=parking)

    def _marks(self, url: str, tag: str, link: Link) -> EffectMarks:
        """Return the effect marks; with replicas, on a separate connection, because WAIT blocks it."""
        return EffectMarks(Link(url, tag) if self._confirm_replicas else link, replicas=self._confirm_replicas)

    async def main(self) -> None:
        """Run jobs until a signal. arq's ``run`` and ``async_run`` call this."""
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        for shard in self.shards:
            shard.renewal.start()
        beside = [
            background.start_task(name, one.run)
            for shard in self.shards
            for name, one in (("wake", shard.wake), ("crons", shard.clock), ("parking", shard.parking))
        ]
        emit(_WORKER_STARTED, worker=self.worker_id, lanes=[lane.name for lane in self.lanes])
        try:
            await asyncio.gather(*(shard.pump.run(partial(self._finished, shard)) for shard in self.shards))
        finally:
            await background.stop_tasks(*beside)
            for shard in self.shards:
                shard.renewal.stop()
            if all(shard.idle for shard in self.shards):
                self._exit.orderly.set()
            emit(_WORKER_STOPPED, worker=self.worker_id, done=self.jobs_complete, failed=self.jobs_failed)

    def run(self) -> None:
        """Run jobs until a signal, then close the connections."""
        try:
            run_to_its_end(self.loop, self.main())
        finally:
            self.loop.run_until_complete(self.close())

    def _add_signal_handler(self, signum: signal.Signals, handler: Callable[[signal.Signals], None]) -> None:
        super()._add_signal_handler(signum, handler)
        self._exit.watch_signal(signum)

    def handle_sig(self, signum: signal.Signals) -> None:
        """Stop claiming and let running jobs finish within the grace. A second signal has no effect."""
        if not self.allow_pick_jobs:
            return
        self.allow_pick_jobs = False
        self._stop_at = self.loop.time() + self._grace.total_seconds()
        self.loop.call_at(self._stop_at, self.runner.stop_all)
        for shard in self.shards:
            shard.pump.claiming = False
            shard.pump.end_rest()
        send_notice(STOPPING)
        # Last: a log that cannot be written, since its reader is gone, must not keep the worker from stopping.
        emit(_WORKER_STOPPING, signal=signal.Signals(signum).name, running=len(self.runner))

    handle_sig_wait_for_completion = handle_sig

    @property
    def work_state(self) -> WorkState:
        """The state that operators see and change (`worker.engine.orders`)."""
        if not self.allow_pick_jobs:
            return "stops"
        return "quiet" if self._quiet else "runs"

    def obey_order(self, order: Order) -> None:
        """Carry out an operator's order; one that comes during a shutdown has no effect."""
        if not self.allow_pick_jobs:
            return
        if order == "stop":
            self._stop_in_order()
            return
        self._quiet = order == "quiet"
        for shard in self.shards:
            shard.pump.claiming = not self._quiet
            shard.pump.end_rest()
        for lane in self.lanes:
            lane.claimable = True  # what came meanwhile is looked at after a resume
        emit(_WORKER_QUIET if self._quiet else _WORKER_RESUMED, running=len(self.runner))  # last, as above

    def _stop_in_order(self) -> None:
        """Stop as by SIGTERM, which the other parts of this process receive too."""
        if self._handle_signals:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.handle_sig(signal.SIGTERM)

    async def close(self) -> None:
        """Close the connections; arq's ``run`` calls this."""
        if self._pool is None:
            return
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        for shard in self.shards:
            await shard.close()
        await connection.close_redis(self.pool)
        self._pool = None

    def _finished(self, shard: Shard) -> bool:
        if self.allow_pick_jobs:
            return False
        return shard.idle or self.loop.time() > self._stop_at + _RECORDING_TIME.total_seconds()

    def _attempt(self, lane: Lane, claim: Claim) -> Attempt:
        make_mark, write_progress, keys = self._tools[claim.lane]
        effect = Effect(make_mark, claim, keys[0])
        progress = Progress(write_progress, claim, keys[1], self.loop)
        return Attempt(lane, claim, effect, progress, self._stop_attempt)

    def _slot_free(self, lane: Lane) -> None:
        self._shard_of[lane.keys.lane].pump.end_rest()
        self._ceiling.notify_listeners()

    def _count(self, attempt: Attempt, outcome: Outcome) -> None:
        self.counts.count(attempt, outcome.kind)
        if outcome.kind in {"done", "suppressed"}:
            self.jobs_complete += 1
        elif outcome.kind in {"dead", "dead+", "expired"}:
            self.jobs_failed += 1
        elif outcome.kind in {"retry", "retry+", "defer", "defer+", "park", "park+"}:
            self.jobs_retried += 1

    def _freed(self, lane: Lane) -> None:
        lane.claimable = True
        self._shard_of[lane.name].pump.end_rest()

    def _woken(self, wake_key: str) -> None:
        self._freed(next(lane for lane in self.lanes if lane.keys.wake == wake_key))

    def _held(self, lanes: Sequence[Lane]) -> RunningClaims:
        """Return a snapshot for the renewal thread; ``list(set)`` is one step of the interpreter."""
        held: RunningClaims = {}
        wedged: list[Claim] = []
        oldest = time.monotonic() - self._max_run.total_seconds()
        for lane in lanes:
            claims = list(lane.running)
            held[lane.keys] = [claim for claim in claims if claim.taken_at >= oldest]
            wedged += [claim for claim in claims if claim.taken_at < oldest]
        if wedged:
            self._in_loop(partial(self.runner.stop_wedged, limit=self._max_run), wedged)
        return held

    def _report(self, lanes: Sequence[Lane], probe: LoopProbe, link: Calls) -> None:
        """Send the heartbeat, and have new orders carried out in the loop; called from the renewal thread."""
        state: dict[str, object] = {
            **self._facts,
            "state": self.work_state,
            "loop_lag_ms": round(probe.measure() * 1000),
            "lease_lag_ms": round(self._shard_of[lanes[0].name].renewal.lag * 1000),
        }
        if waits := self._recent_waits.read(time.monotonic()):
            state["waits"] = waits
        room, every = self._ceiling.room, self._renew_every
        schedules = self._shard_of[lanes[0].name].clock.declarations
        orders = heartbeat.send_heartbeat(
            link, self.worker_id, lanes, self.data, every=every, room=room, state=state, schedules=schedules
        )
        for tag, found in orders.items():
            if order := self._orders.find_new(tag, found):
                self.loop.call_soon_threadsafe(self.obey_order, order)

    def _retract(self, lanes: Sequence[Lane], link: Calls) -> None:
        heartbeat.remove_heartbeat(link, self.worker_id, lanes)

    def _in_loop(self, stop: Callable[[list[Claim]], None], claims: list[Claim]) -> None:
        self.loop.call_soon_threadsafe(partial(stop, claims))
