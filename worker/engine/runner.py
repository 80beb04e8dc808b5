"""The attempts that one worker runs, each in its own task, and the ways to stop them.

An attempt is identified by its claim (job id and token), not by the job id alone: a worker that was paused beyond
a lease may claim a job that it still runs. The new attempt then waits until the old one has ended, and the fence
refuses the old one's outcome.

    claimed ──> runs ──> ended by its handler ──> recorded
                 │  ▲
           cancelled│ (shutdown, lease lost, time limit, job cancelled)
                 ▼  │
               stopping ──> 3 s later given up: recorded without its handler, and the slot is free

The slot is freed for every exception of a handler, and also for a handler that never ends. The attempt is charged
like any failure (uncharged only if the worker stopped it), and an attempt that was given up can begin no effect.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from worker import tracing
from worker.engine.attempt import (
    Attempt,
    AttemptResult,
    Handlers,
    StopReason,
    conclude_attempt,
    run_attempt,
    run_traced_attempt,
)
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.outcome import Outcome, TimedOut, plain_text
from worker.events import emit, event

_WORKER_HANDED_BACK = event("worker.handed_back")
_JOB_LEASE_LOST = event("job.lease_lost")
_JOB_WEDGED = event("job.wedged")
_JOB_UNSTOPPABLE = event("job.unstoppable")

STOP_SECONDS = 3.0
"""Time for a handler to end after its cancellation."""


class StillRunning(Exception):
    """The previous attempt of the job still runs in this worker and does not stop."""

    def __init__(self) -> None:
        super().__init__("the previous attempt still runs in this worker and does not stop")


class Runner:
    """The running attempts of one worker.

    Args:
        prepare: creates the attempt of a claim.
        settled: called with each outcome.
        ended: called when a slot of a lane becomes free.
    """

    def __init__(
        self,
        handlers: Handlers,
        loop: asyncio.AbstractEventLoop,
        *,
        prepare: Callable[[Lane, Claim], Attempt],
        settled: Callable[[Attempt, Outcome], None],
        ended: Callable[[Lane], None],
    ) -> None:
        self._handlers = handlers
        self._loop = loop
        self._prepare = prepare
        self._settled = settled
        self._slot_free = ended
        self._when_over = self._over  # bound once: a new object for each attempt costs the collector's time
        self._attempts: dict[Claim, Attempt] = {}
        self._newest: dict[str, Attempt] = {}
        """The newest running attempt by job id."""

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def tasks(self) -> "list[asyncio.Task[None]]":
        """The tasks of all attempts, including attempts that were given up and have not ended."""
        return [attempt.task for attempt in self._attempts.values() if attempt.task]

    def start_attempt(self, lane: Lane, claim: Claim) -> None:
        """Start an attempt; if an older one of the same job still runs here, after its end."""
        attempt = self._prepare(lane, claim)
        attempt.older = self._newest.get(claim.id)
        lane.running.add(claim)
        self._attempts[claim] = self._newest[claim.id] = attempt
        attempt.task = self._loop.create_task(self._run(attempt))
        attempt.task.add_done_callback(partial(self._when_over, attempt))

    def stop_attempt(self, attempt: Attempt, reason: StopReason) -> None:
        """Cancel an attempt, and give it up if it does not end; the first reason is kept."""
        if attempt.stopped or attempt.task is None or attempt.task.done():
            return
        attempt.stopped = reason
        attempt.task.cancel()
        self._loop.call_later(STOP_SECONDS, self._give_up, attempt)

    def stop_all(self) -> None:
        """Stop all attempts; their jobs return to the queue uncharged."""
        if self._attempts:
            emit(_WORKER_HANDED_BACK, running=len(self._attempts))
        for attempt in list(self._attempts.values()):
            self.stop_attempt(attempt, "shutdown")

    def stop_lost(self, claims: Iterable[Claim]) -> None:
        """Stop the attempts whose lease was lost."""
        for attempt in self._unstopped(claims):
            emit(_JOB_LEASE_LOST, job_id=attempt.claim.id)
            self.stop_attempt(attempt, "lost")

    def stop_cancelled(self, claims: Iterable[Claim]) -> None:
        """Stop the attempts of cancelled jobs."""
        for attempt in self._unstopped(claims):
            self.stop_attempt(attempt, "cancelled")

    def stop_wedged(self, claims: Iterable[Claim], limit: timedelta) -> None:
        """Stop the attempts that ran longer than the worker's limit."""
        for attempt in self._unstopped(claims):
            emit(_JOB_WEDGED, job_id=attempt.claim.id, seconds=limit.total_seconds())
            attempt.limit = limit
            self.stop_attempt(attempt, "time")

    def _unstopped(self, claims: Iterable[Claim]) -> list[Attempt]:
        return [attempt for claim in claims if (attempt := self._attempts.get(claim)) and not attempt.stopped]

    async def _run(self, attempt: Attempt) -> None:
        if attempt.older is None or await self._has_ended(attempt.older):
            run = run_traced_attempt if tracing.is_on() else run_attempt
            ended = await run(attempt, self._handlers)
        else:
            ended = conclude_attempt(attempt, self._handlers, StillRunning())
        self._settle(attempt, ended)

    async def _has_ended(self, older: Attempt) -> bool:
        """Stop an older attempt and return True if it has ended."""
        self.stop_lost([older.claim])
        if older.task is not None:
            if older.over:
                older.task.cancel()  # it was given up: cancel it once more
            await asyncio.wait([older.task], timeout=STOP_SECONDS)
        return not older.runs

    def _settle(self, attempt: Attempt, ended: AttemptResult) -> None:
        """Free the slot and pass the outcome on; a second call does nothing."""
        if attempt.over:
            return
        attempt.over = True
        outcome = ended.outcome if attempt.stopped is None else _outcome_if_cancelled(attempt, ended.outcome)
        attempt.lane.running.discard(attempt.claim)
        self._settled(attempt, outcome)
        result = ended.result if outcome is ended.outcome else b""
        reason = plain_text(outcome.reason) if outcome.reason else ""
        attempt.lane.ended.append(
            Completion(attempt.claim, outcome.kind, outcome.delay, result, ended.life, reason, trace=attempt.trace)
        )

    def _give_up(self, attempt: Attempt) -> None:
        if attempt.task is None or attempt.task.done():
            return
        emit(_JOB_UNSTOPPABLE, job_id=attempt.claim.id, lane=attempt.lane.name, stopped=attempt.stopped)
        attempt.left_behind = True
        attempt.lane.left_behind += 1
        attempt.task.cancel()
        self._settle(attempt, self._ended_for(attempt, TimedOut(attempt.limit, stopped=False)))
        self._slot_free(attempt.lane)

    def _over(self, attempt: Attempt, task: "asyncio.Task[None]") -> None:
        del self._attempts[attempt.claim]
        attempt.lane.left_behind -= attempt.left_behind
        if self._newest.get(attempt.claim.id) is attempt:
            del self._newest[attempt.claim.id]
            if attempt.older is not None:
                self._remember(attempt.older)
        if not attempt.over:
            fault = None if task.cancelled() else task.exception()
            self._settle(attempt, self._ended_for(attempt, fault or asyncio.CancelledError()))
        elif attempt.stopped and not task.cancelled():
            task.exception()  # retrieve it, or asyncio logs it: the attempt was given up and has its outcome
        self._slot_free(attempt.lane)

    def _remember(self, older: Attempt | None) -> None:
        """Remember an older attempt that still runs, so that the job's next attempt waits for it."""
        while older is not None and not older.runs:
            older = older.older
        if older is not None:
            self._newest[older.claim.id] = older

    def _ended_for(self, attempt: Attempt, fault: BaseException) -> AttemptResult:
        """Return the result of an attempt without a handler's outcome: deferred if stopped, else charged."""
        if attempt.stopped and attempt.stopped != "time":
            wait = timedelta(seconds=STOP_SECONDS) if attempt.began else timedelta(0)  # this process ends first
            return AttemptResult(Outcome("defer+" if attempt.effect.begun else "defer", wait))
        return conclude_attempt(attempt, self._handlers, attempt.recorded_error(fault))


def _outcome_if_cancelled(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return "cancelled" in place of a return to the queue, for an attempt whose job was cancelled."""
    if attempt.stopped != "cancelled":
        return outcome
    match outcome.kind:
        case "defer" | "park":
            return Outcome("cancelled")
        case "defer+" | "park+":
            return Outcome("cancelled+")
        case _:
            return outcome
