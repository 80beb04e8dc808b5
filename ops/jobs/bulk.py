"""Changes of many jobs: all that a filter matches, or the dead of one cluster by canary.

    bulk     the jobs that match now are named first; then they are changed batch by batch
    canary   1 job is revived, then 10, then the rest; each step waits until its jobs have ended well

A canary stops at the first job that fails again, whatever the reason; and waits for jobs that a limit or a hold
delays. Each batch is one atomic script, so a change that is cut off has happened to some jobs as a whole and to
the others not at all; repeated, it does the rest.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from redis.asyncio import Redis

from jobs.mail.seal import KeyRing
from ops.jobs.job import JobState, read_job
from ops.jobs.operations import BATCH, remove_some, revive_some
from producers.keys import LaneKeys

if TYPE_CHECKING:
    from reports.connection_postgres import Connection

BulkAction = Literal["revive", "discard", "cancel"]
CANARY_STEPS = (1, 10)
"""Number of jobs in each step before the rest."""
_LOOK_EVERY_S = 0.5
_CHANGED = frozenset({"revived", "staged", "gone", "stopping"})
_WELL = frozenset({"done", "suppressed", "expired", "unknown"})
_WAITS = frozenset({"ready", "scheduled", "leased", "staged"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkTools:
    """Stores that a change needs."""

    redis: Redis
    ring: KeyRing | None = None
    ledger: "Connection | None" = None
    number: str = ""
    """Identifies the change under which discarded jobs are kept aside; "" to keep none."""


@dataclass(slots=True)
class BulkProgress:
    """Progress of a change, for the page that shows it; `stopped` stops it after its current batch.

    Attributes:
        total: number of jobs that it affects.
        counts: outcomes so far, by their names.
        step: the current step of a canary, from 1; 0: none.
        failed: the id of the job that failed again; "" for none.
    """

    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    step: int = 0
    failed: str = ""
    stopped: bool = False

    @property
    def done(self) -> int:
        """Jobs that were dealt with."""
        return self.counts.total()


NamedJob = tuple[str, bytes]
"""Lane and id."""


async def change_jobs(
    tools: BulkTools, progress: BulkProgress, *, action: BulkAction, jobs: Sequence[NamedJob]
) -> list[str]:
    """Change jobs batch by batch, until all are or the progress says stop; return the ids of those changed.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer; the batches before are done.
    """
    progress.total, changed = max(progress.total, len(jobs)), list[str]()
    for keys, job_ids in _batches(jobs):
        if progress.stopped:
            break
        outcomes = await _change_batch(tools, action, keys, job_ids)
        progress.counts.update(outcomes)
        changed += [one.decode() for one, what in zip(job_ids, outcomes, strict=True) if what in _CHANGED]
    return changed


async def _change_batch(
    tools: BulkTools, action: BulkAction, keys: LaneKeys, job_ids: Sequence[bytes]
) -> Sequence[str]:
    if action == "revive":
        return await revive_some(tools.redis, keys, job_ids, ring=tools.ring, ledger=tools.ledger)
    event: Literal["discarded", "cancelled"] = "discarded" if action == "discard" else "cancelled"
    return await remove_some(tools.redis, keys, job_ids, event, number=tools.number)


async def replay_jobs(tools: BulkTools, progress: BulkProgress, *, jobs: Sequence[NamedJob]) -> None:
    """Revive the jobs of a cluster by canary. Raises as :func:`change_jobs`."""
    progress.total, left = len(jobs), list(jobs)
    for number, size in enumerate(CANARY_STEPS, 1):
        progress.step, some, left = number, left[:size], left[size:]
        revived = await change_jobs(tools, progress, action="revive", jobs=some)
        if not await _end_well(tools.redis, revived, progress):
            return
    progress.step = len(CANARY_STEPS) + 1
    await change_jobs(tools, progress, action="revive", jobs=left)


async def _end_well(redis: Redis, waiting: Sequence[str], progress: BulkProgress) -> bool:
    """Wait until these jobs have ended; False if one failed again, or the progress says stop."""
    while waiting and not progress.stopped:
        states = [await read_job(redis, job_id) for job_id in waiting]
        if failed := next((one for one in states if has_failed(one)), None):
            progress.failed = failed.id
            return False
        waiting = [one.id for one in states if one.state in _WAITS]
        if waiting:
            await asyncio.sleep(_LOOK_EVERY_S)
    return not progress.stopped


def has_failed(job: JobState) -> bool:
    """Return True if a revived job has failed again: it is dead, in doubt, or waits for another attempt."""
    return job.state not in _WELL | _WAITS


def _batches(jobs: Sequence[NamedJob]) -> Iterator[tuple[LaneKeys, list[bytes]]]:
    lanes: dict[str, list[bytes]] = {}
    for lane, job_id in jobs:
        lanes.setdefault(lane, []).append(job_id)
    for lane, job_ids in lanes.items():
        for first in range(0, len(job_ids), BATCH):
            yield LaneKeys(lane), job_ids[first : first + BATCH]
