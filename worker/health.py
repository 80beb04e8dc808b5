"""Health of a worker process: what its probes and its service manager are told.

A worker is live while its event loop answers and its renewal threads go their rounds, successful or not. It is
ready while it claims jobs, renews its leases, and no part of it notes trouble (:mod:`worker.troubles`).
"""

import time
from collections.abc import Iterator, Mapping, Sequence

from metrics.health import Health
from worker.engine import Worker
from worker.engine.shard import Shard
from worker.troubles import TROUBLES, Trouble

_LATE_LEASES = 3
"""Number of leases without a round of renewals after which the thread is stuck; a round takes at most 2 s."""


def health_of(worker: Worker) -> Health:
    """Return the health of a worker, read when it is requested."""

    async def find_deadly() -> Sequence[str]:
        now = time.monotonic()
        return [reason for shard in worker.shards for reason in find_stuck(shard, now)]

    async def find_waiting() -> Sequence[str]:
        now = time.monotonic()
        shards = [reason for shard in worker.shards for reason in find_idle(shard, now)]
        return [*shards, *find_troubles(TROUBLES)]

    return Health(find_deadly, find_waiting)


def find_stuck(shard: Shard, now: float) -> Iterator[str]:
    """Yield the reason if the shard's renewal thread no longer does its rounds."""
    late = now - shard.renewal.tried_at
    if late > _LATE_LEASES * shard.renewal.lease:
        yield f"{shard.name}: the leases are not being renewed: the last try was {late:.0f} s ago"


def find_idle(shard: Shard, now: float) -> Iterator[str]:
    """Yield each reason why the shard claims no jobs, or would lose them."""
    if not shard.pump.claiming:
        yield f"{shard.name}: claims no more jobs: it is stopping, or an operator quieted it"
    elif shard.pump.failed_cycles:
        yield f"{shard.name}: Redis does not answer, or refuses: {shard.pump.failed_cycles} tries failed"
    elif not shard.pump.cycle_times.total:
        yield f"{shard.name}: Redis has not answered yet"
    late = now - shard.renewal.renewed_at
    if late > shard.renewal.lease:
        yield f"{shard.name}: the leases were last renewed {late:.0f} s ago, and last {shard.renewal.lease:.0f} s"


def find_troubles(troubles: Mapping[str, Trouble]) -> Iterator[str]:
    """Yield the troubles of the worker's parts."""
    for part, trouble in troubles.items():
        yield f"{part}: {trouble.error}"
