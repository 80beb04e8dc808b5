"""arq's Worker for applications that are written for arq, with leases on jobs.

It takes exactly the arguments of arq 0.28.0 and keeps its policies, hooks, cron, abort, log texts and results:
`run_job` and the polling loop are arq's own code. Two things are replaced:

    claiming    a job is held by a lease of ten seconds that a thread renews, where arq holds it for the whole
                job timeout: after a crash it runs again in seconds, not minutes
    finishing   is fenced by the lease: a worker that lost it records nothing

A stock arq worker may work on the same queue: each respects the other's running jobs. docs/arq.md has the
differences.

It reads a pickle only if the application passes a deserializer that does. It refuses a lane of Momentus, where
failed jobs must be kept; `worker.engine.Worker` is for those.
"""

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from arq.connections import create_pool
from arq.constants import abort_jobs_ss, in_progress_key_prefix, result_key_prefix, retry_key_prefix
from arq.jobs import serialize_result
from arq.utils import timestamp_ms
from arq.worker import JobExecutionFailed, Worker as ArqWorker

from producers.link.application_client import SyncApplicationClient
from producers.link.script import Script
from worker.arq_compat.connection import PoolLink, blocking_twin
from worker.arq_compat.wire import QueueKeys, from_json, to_json
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.lease import Renewal, RunningClaims
from worker.engine.store import CycleResult, JobStore, engine_script

_UNLIMITED_CRASHES = 2**31
"""Number of leases that a job may lose: each counts as one of arq's tries, and arq limits those."""
_AGAIN = "defer"
"""The outcome of an attempt that is not the last: the script does not count it, because arq's `run_job` has."""
_FOREVER = timedelta(days=36500)
_NOTHING = timedelta(0)

logger = logging.getLogger("arq.worker")


class StandIn(ArqWorker):
    """arq's Worker, argument for argument, with leases.

    Attributes:
        lease, renew_every: duration of a lease, and the interval of its renewal.

    Raises:
        ValueError: the queue is a lane of Momentus.

    Example:
        StandIn(functions=[send_invoice], redis_settings=RedisSettings()).run()
    """

    lease: ClassVar[timedelta] = timedelta(seconds=10)
    renew_every: ClassVar[timedelta] = timedelta(seconds=3)

    __signature__: ClassVar = inspect.signature(ArqWorker)
    """arq reads the allowed names of a settings class from it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  arq's own arguments
        super().__init__(*arguments, **named)
        if self.queue_name.startswith("arq:queue:{"):
            raise ValueError(f"queue_name: {self.queue_name} is a lane of Momentus; use worker.engine.Worker")
        self.job_serializer = self.job_serializer or to_json
        self.job_deserializer = self.job_deserializer or from_json
        self._lane = Lane(QueueKeys(self.queue_name), self.max_jobs)
        self._claims: dict[str, Claim] = {}
        """The running claims by job id: a job that is claimed again waits for the end of its first attempt."""
        self._link = PoolLink(lambda: self.pool)
        self._store = JobStore(
            self._link, worker_id=uuid.uuid4().hex[:16], lease=self.lease, crash_limit=_UNLIMITED_CRASHES
        )
        self._take_expired = Script(engine_script("take_expired"))
        self._renewal: Renewal | None = None

    async def main(self) -> None:
        """Run jobs until a signal, or in a burst until the queue is empty."""
        if self._pool is None:
            self._pool = await create_pool(
                self.redis_settings,
                job_deserializer=self.job_deserializer,
                job_serializer=self.job_serializer,
                default_queue_name=self.queue_name,
                expires_extra_ms=self.expires_extra_ms,
            )
        self._start_renewal()
        try:
            await super().main()
        finally:
            if not self._claims:
                self._stop_renewal()

    async def close(self) -> None:
        """Wait for the running jobs, then close the connections."""
        try:
            await super().close()
        finally:
            self._stop_renewal()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Claim and start due jobs: at most one per id, and one per free slot."""
        await self._fail_expired(job_ids)
        wanted = min(len(job_ids), self.max_jobs - self.job_counter)
        if wanted < 1:
            return
        claims: list[Claim] = []
        self.job_counter += wanted
        try:
            claims = await self._claim(wanted)
        finally:
            self.job_counter -= wanted
        for claim in claims:
            if older := self._claims.get(claim.id):  # its lease lapsed in this worker: its handler must end first
                self._stop_lost([older])
            else:
                await self._start(claim)

    async def finish_job(
        self,
        job_id: str,
        finish: bool,  # noqa: FBT001
        result_data: bytes | None,
        result_timeout_s: float | None,
        keep_result_forever: bool,  # noqa: FBT001
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """Record the outcome of an attempt, if its lease is valid."""
        claim = self._claims[job_id]
        if finish:
            life = _FOREVER if keep_result_forever else timedelta(seconds=result_timeout_s or 0)
            recorded = await self._finish(claim, result_data, life)
        else:
            due = claim.due_ms + incr_score if incr_score else 0
            wait = timedelta(milliseconds=max(0, due - timestamp_ms()))
            recorded = await self._record(Completion(claim, _AGAIN, wait, b"", _NOTHING, ""))
        if recorded and keep_in_progress is not None:  # arq's guard against a second run of one tick
            await self.pool.set(in_progress_key_prefix + job_id, b"1", px=round(keep_in_progress * 1000), nx=True)

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """Record a job that failed before its handler began, if its lease is valid."""
        life = _FOREVER if self.keep_result_forever else timedelta(seconds=self.keep_result_s)
        await self._finish(self._claims[job_id], result_data, life)

    async def _claim(self, count: int) -> list[Claim]:
        claims = (await self._cycle([], [(self._lane, count)])).claims
        if claims:
            await self._uncount_lapses([claim.id for claim in claims])
        return claims

    async def _uncount_lapses(self, job_ids: list[str]) -> None:
        """Count a lost attempt once: arq's `run_job` counted it at its start, and the claim again as lapsed."""
        lapses = await self.pool.hmget(self._lane.keys.lapses, job_ids)  # type: ignore[misc]  # typed for both clients
        async with self.pool.pipeline(transaction=False) as pipe:
            for job_id, lost in zip(job_ids, lapses, strict=True):
                if lost:
                    pipe.decr(retry_key_prefix + job_id)
            await pipe.execute()

    async def _start(self, claim: Claim) -> None:
        await self.sem.acquire()
        self.job_counter += 1
        self._claims[claim.id] = claim
        task = self.loop.create_task(self.run_job(claim.id, claim.due_ms))
        task.add_done_callback(partial(self._over, claim))
        self.tasks[claim.id] = task

    def _over(self, claim: Claim, _: "asyncio.Task[None]") -> None:
        del self._claims[claim.id]
        self._release_sem_dec_counter_on_complete()

    async def _finish(self, claim: Claim, result: bytes | None, life: timedelta) -> bool:
        kept = result if result and life else b""
        recorded = await self._record(Completion(claim, "done", _NOTHING, kept, life, ""))
        if recorded:
            async with self.pool.pipeline(transaction=False) as pipe:
                pipe.zrem(abort_jobs_ss, claim.id)
                if kept and life == _FOREVER:
                    pipe.persist(result_key_prefix + claim.id)
                await pipe.execute()
        return recorded

    async def _record(self, completion: Completion) -> bool:
        cycle = await self._cycle([(self._lane, [completion])], [])
        if cycle.refused:
            logger.warning("job %s: the lease was lost; the outcome was not recorded", completion.claim.id)
        return not cycle.refused

    async def _cycle(
        self, endings: list[tuple[Lane, list[Completion]]], wanted: list[tuple[Lane, int]]
    ) -> CycleResult:
        cycle = await self._store.run_cycle(endings, wanted)
        if fault := cycle.error or next(iter(cycle.faults.values()), None):
            raise fault
        return cycle

    async def _fail_expired(self, job_ids: Iterable[bytes]) -> None:
        keys = self._lane.keys
        names = [keys.queue, keys.leases, keys.counters, keys.retrying, keys.adopted]
        for job_id in await self._take_expired.run(self._link.call, names, [self.queue_name, *job_ids]):
            await self._fail_one_expired(job_id.decode())

    async def _fail_one_expired(self, job_id: str) -> None:
        logger.warning("job %s expired", job_id)
        self.jobs_failed += 1
        now = timestamp_ms()
        result = serialize_result(
            function="<unknown>",
            args=(),
            kwargs={},
            job_try=1,
            enqueue_time_ms=0,
            success=False,
            result=JobExecutionFailed("job expired"),
            start_ms=now,
            finished_ms=now,
            ref=f"{job_id}:<unknown>",
            queue_name=self.queue_name,
            job_id=job_id,
            serializer=self.job_serializer,
        )
        life = None if self.keep_result_forever else round(self.keep_result_s * 1000)
        if result and life != 0:
            await self.pool.set(result_key_prefix + job_id, result, px=life, nx=True)

    def _start_renewal(self) -> None:
        self._stop_renewal()
        self._renewal = Renewal(
            SyncApplicationClient(blocking_twin(self.pool)),
            lease=self.lease,
            every=self.renew_every,
            held=self._held,
            on_lost=self._lost_from_thread,
            report=lambda _: None,  # arq's health key is the heartbeat
            retract=lambda _: None,
        )
        self._renewal.start()

    def _stop_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()
            self._renewal = None

    def _held(self) -> RunningClaims:
        """Return a snapshot for the renewal thread, without claims past arq's own limit: their handlers are stuck.

        ``list(dict.values())`` is one step of the interpreter.
        """
        earliest = time.monotonic() - self.in_progress_timeout_s
        return {self._lane.keys: [one for one in list(self._claims.values()) if one.taken_at > earliest]}

    def _lost_from_thread(self, claims: list[Claim]) -> None:
        self.loop.call_soon_threadsafe(self._stop_lost, claims)

    def _stop_lost(self, claims: list[Claim]) -> None:
        for claim in claims:
            task = self.job_tasks.get(claim.id)
            if task is not None and self._claims.get(claim.id) is claim:
                logger.warning("job %s: the lease was lost; the handler is stopped", claim.id)
                task.cancel()
