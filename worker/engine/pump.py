"""The pump: moves jobs between Redis and the slots of one process.

A cycle records completions and claims due jobs, in one round trip. Up to two cycles are under way at a time: while
Redis works on one half of the slots, the jobs of the other half run. The two must not be sent together, since
their replies would arrive together too, and each side would wait while the other works: one begins at a time, and
the next one before the jobs of a reply start. Between cycles the pump rests until a job ends, a lane is woken, a
job becomes due, a lease may have lapsed, or a second has passed (the safety poll, which also finds the jobs of
stock arq producers).

While nearly all slots of a lane are busy and nothing woke it, its ended jobs wait for others to end, as long as
the event loop has other work (:mod:`worker.engine.gathering`). Not so under a ceiling, where the next free slot
may be another lane's.

Under a ceiling, lanes share the slots (:mod:`worker.engine.shared_slots`). While all slots are taken, the pump
sends a claim of no job for a woken lane: so the lane is known to have work when the next slot becomes free, and
its wake token passes to a worker with a free slot.

A lane with a wrong type of data under one of its keys rests alone, a second at a time, and a log line names the
key; the other lanes continue.

While Redis is down, running jobs continue, their outcomes wait here, and the pump retries without end, with
jittered pauses of up to a second.
"""

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from time import perf_counter

from redis.exceptions import RedisError

import background
from metrics.histogram import Histogram
from producers.rights import missing_right
from worker.engine.gathering import wait_while_busy
from worker.engine.lane import Claim, Completion, Lane, returned_unrun
from worker.engine.shared_slots import SharedSlots
from worker.engine.store import CycleResult, JobStore
from worker.engine.wake import Wake
from worker.events import emit, event
from worker.troubles import end_trouble, note_trouble

_JOB_UNCONFIRMED = event("job.unconfirmed")
_JOB_REFUSED = event("job.refused")
_REDIS_BACK = event("redis.back")
_LANE_MENDED = event("lane.mended")
_LANE_BROKEN = event("lane.broken")
_REDIS_AWAY = event("redis.away")
_REDIS_REFUSED = event("redis.refused")
_RIGHTS = "rights"

_SAFETY_POLL = 1.0
_TURNS_AT_ONCE = 2
_LONGEST_PAUSE = 1.0
_LANE_REST = 1.0
_ROUNDS = 32
"""Rounds of the event loop before the next cycle of a busy worker, in which jobs may end: some milliseconds."""

Endings = list[tuple[Lane, list[Completion]]]
ClaimCounts = list[tuple[Lane, int]]


def _code(error: Exception) -> str:
    """Return the code of Redis's error reply, like ``LOADING``; "" if there was no reply.

    >>> _code(ConnectionError("the connection to Redis was lost"))
    ''
    """
    word = str(error).partition(" ")[0]
    return word if word.isupper() and word.isalpha() else ""


class Pump:
    """The loop that fills the slots of some lanes and records completions.

    Args:
        lanes: the lanes to fill.
        start: starts a claimed job.
        ceiling: the slots that all lanes of the worker share.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        store: JobStore,
        wake: Wake,
        start: Callable[[Lane, Claim], None],
        ceiling: SharedSlots,
    ) -> None:
        self._lanes = lanes
        self._store = store
        self._wake = wake
        self._start = start
        self._ceiling = ceiling
        ceiling.on_change(self.end_rest)
        wake.standing.on_reply = self._take_standing
        self._by_name = {lane.name: lane for lane in lanes}
        self._kicked = asyncio.Event()
        self._cycles: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        """Number of cycles that wait for their reply."""
        self._polled_at = -math.inf
        self._resume_at = -math.inf
        self.failed_cycles = 0
        self.failures = 0
        """Number of failed cycles since the start."""
        self.cycle_times = Histogram()
        self.on_back: Callable[[], None] = lambda: None
        """Called when Redis responds again."""
        self.claiming = True
        """False to record outcomes only."""

    def end_rest(self) -> None:
        """Wake the loop after a change, unless the end of a cycle is about to do so anyway."""
        if self._in_flight < _TURNS_AT_ONCE:
            self._kicked.set()

    async def run(self, finished: Callable[[], bool]) -> None:
        """Alternate cycles and rests until ``finished`` returns True; then no read waits for more jobs either."""
        while not finished():
            self._mark_due()
            self._end_read()
            self._begin_cycle()
            await self._rest(finished)
        await self._wake.watch_keys(frozenset())
        self._wake.end_read()
        for cycle in self._cycles:
            cycle.cancel()
        await asyncio.gather(*self._cycles, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """True if every outcome is recorded."""
        return not (self._cycles or self._wake.standing.stands or any(lane.ended for lane in self._lanes))

    def _end_read(self) -> None:
        """End the blocking read if its claim is to look at a lane now, or if this worker stops."""
        waiting = [lane for lane in self._lanes if lane.awaits_standing]
        if waiting or not self.claiming:
            self._wake.end_read()
        for lane in waiting:
            lane.claimable = lane.has_more = False  # its claim is under way

    def _take_standing(self, cycle: CycleResult) -> None:
        """Start the jobs of the claim behind the blocking read; in a shutdown, return them uncharged."""
        if self.claiming:
            for claim in cycle.claims:
                self._start(self._by_name[claim.lane], claim)
        else:
            for claim in cycle.claims:
                self._by_name[claim.lane].ended.append(returned_unrun(claim))
        self.end_rest()

    def _begin_cycle(self) -> None:
        if self._in_flight >= _TURNS_AT_ONCE or asyncio.get_running_loop().time() < self._resume_at:
            return
        endings = [(lane, lane.take_ended()) for lane in self._active_lanes if lane.ended]
        if any(one.claim.limit for _, ended in endings for one in ended):
            self._claim_waiting_lanes()
        counts = self._claim_counts() if self.claiming else []
        if not endings and not counts:
            return
        self._in_flight += 1
        cycle = asyncio.create_task(self._cycle(endings, counts))
        self._cycles.add(cycle)
        cycle.add_done_callback(self._cycle_over)

    def _can_gather(self) -> bool:
        """Return True if the next cycle can wait for more jobs to end."""
        if not self.claiming or self._ceiling.is_limited:
            return False
        return any(lane.ended for lane in self._lanes) and all(lane.can_gather for lane in self._lanes)

    def _claim_counts(self) -> ClaimCounts:
        """Return the number of jobs to claim per lane; 0 for a woken lane while all slots are taken."""
        active, now = self._active_lanes, asyncio.get_running_loop().time()
        shares = zip(active, self._ceiling.shares(active, now), strict=True)
        return [(lane, lane.reserve_slots(count)) for lane, count in shares if count or lane.needs_look]

    @property
    def _active_lanes(self) -> list[Lane]:
        """The lanes that do not rest."""
        now = asyncio.get_running_loop().time()
        return [lane for lane in self._lanes if lane.rest_until <= now]

    def _claim_waiting_lanes(self) -> None:
        """Let all lanes with waiting jobs claim, in their order, in the cycle that frees a place of a limit.

        Otherwise the lane of the ended job would take the place again and again.
        """
        for lane in self._lanes:
            lane.claimable = lane.claimable or lane.next_due is not None

    def _cycle_over(self, cycle: "asyncio.Task[None]") -> None:
        self._cycles.discard(cycle)
        self._kicked.set()
        self._ceiling.notify_listeners()
        if not cycle.cancelled() and (fault := cycle.exception()):
            background.note_fault("cycle", fault)

    async def _cycle(self, endings: Endings, counts: ClaimCounts) -> None:
        began = perf_counter()
        try:
            cycle = await self._store.run_cycle(endings, counts)
        except (RedisError, OSError, TimeoutError) as error:
            self._restore(endings, counts, error)
            return
        except Exception:  # a bug must not lose a slot or an outcome
            self._restore(endings, counts, None)
            raise
        finally:
            self._in_flight -= 1
        self.cycle_times.observe(perf_counter() - began)
        now = asyncio.get_running_loop().time()
        for lane, count in counts:
            lane.release_slots(count, now)
        self._keep_unrecorded(cycle)
        if cycle.error:
            self._pause(cycle.error)
        elif self.failed_cycles:
            emit(_REDIS_BACK, failed_cycles=self.failed_cycles)
            self.failed_cycles = 0
            end_trouble(_RIGHTS)
            self.on_back()
        self._start_claims(cycle)
        for lane in {lane.name: lane for lane, _ in (*endings, *counts)}.values():
            await self._note_fault(lane, cycle.faults.get(lane.name))

    async def _note_fault(self, lane: Lane, fault: Exception | None) -> None:
        """Let a faulty lane rest; log the fault once, and once more when the lane works again."""
        if fault is None:
            if lane.broken:
                emit(_LANE_MENDED, lane=lane.name)
            lane.broken = False
            return
        lane.rest_until = asyncio.get_running_loop().time() + _LANE_REST
        lane.claimable = True  # for the end of the rest
        if lane.broken:
            return
        lane.broken = True
        try:
            keys = await self._store.wrong_keys(lane)
        except (RedisError, OSError, TimeoutError):
            keys = []
        emit(_LANE_BROKEN, lane=lane.name, error=str(fault), keys=keys)

    def _keep_unrecorded(self, cycle: CycleResult) -> None:
        for completion in cycle.unrecorded:
            self._by_name[completion.claim.lane].ended.append(completion)
        for completion in cycle.refused:
            refusal = _JOB_UNCONFIRMED if completion.sent_before else _JOB_REFUSED
            emit(refusal, job_id=completion.claim.id, lane=completion.claim.lane)

    def _start_claims(self, cycle: CycleResult) -> None:
        """Start the next cycle, on which Redis works meanwhile, and then the claimed jobs."""
        for claim in cycle.claims:
            self._by_name[claim.lane].running.add(claim)
        if cycle.claims and not self._can_gather():
            self._begin_cycle()
        for claim in cycle.claims:
            self._start(self._by_name[claim.lane], claim)

    def _restore(self, endings: Endings, counts: ClaimCounts, error: Exception | None) -> None:
        """Keep the outcomes of a failed round trip, and retry it after a pause."""
        for lane, ended in endings:
            for completion in ended:
                completion.sent_before = True
            lane.ended[:0] = ended
        for lane, count in counts:
            lane.claim_failed(count)
        self._pause(error)

    def _pause(self, error: Exception | None) -> None:
        if self.failed_cycles == 0 and error is not None:
            if right := missing_right(error):
                emit(_REDIS_REFUSED, right=right, part="the queue")
                note_trouble(_RIGHTS, right)
            else:
                emit(_REDIS_AWAY, error=type(error).__name__, code=_code(error))
        self.failed_cycles += 1
        self.failures += 1
        pause = min(_LONGEST_PAUSE, 0.05 * 2 ** min(self.failed_cycles, 10))
        jittered = pause * random.uniform(0.5, 1)  # noqa: S311  jitter, not a secret
        self._resume_at = asyncio.get_running_loop().time() + jittered

    async def _rest(self, finished: Callable[[], bool]) -> None:
        """Wait until a kick, or until the next job or lease is due."""
        full = self._ceiling.room < 1  # then the wake token of a lane with more jobs is left to other workers
        free = [lane.keys.wake for lane in self._active_lanes if lane.is_open and not (full and lane.has_more)]
        await self._wake.watch_keys(frozenset(free if self.claiming else ()))
        if finished():
            return
        timer = asyncio.get_running_loop().call_at(self._next_look(), self._kicked.set)
        await self._kicked.wait()
        timer.cancel()
        await wait_while_busy(rounds=_ROUNDS, wanted=self._can_gather)
        self._kicked.clear()

    def _could_cycle(self) -> bool:
        """Return True if only a pause delays the next cycle; otherwise the end of a job or a cycle starts it."""
        if self._in_flight == _TURNS_AT_ONCE:
            return False
        active = self._active_lanes
        if any(lane.ended for lane in active):
            return True
        claiming = [lane for lane in active if self.claiming and lane.can_claim]
        return bool(claiming) and (self._ceiling.room >= 1 or any(lane.needs_look for lane in claiming))

    def _mark_due(self) -> None:
        now = asyncio.get_running_loop().time()
        poll = now - self._polled_at >= _SAFETY_POLL
        if poll:
            self._polled_at = now
        for lane in self._lanes:
            lane.claimable = lane.claimable or poll or lane.due_at <= now

    def _next_look(self) -> float:
        now = asyncio.get_running_loop().time()
        looks = [lane.due_at for lane in self._active_lanes if lane.is_open]
        looks += [lane.rest_until for lane in self._lanes if lane.rest_until > now]
        if self._could_cycle():
            looks.append(self._resume_at)
        return min([*looks, self._polled_at + _SAFETY_POLL])
