"""Why a job is not done yet: what it waits for, from the job and its lane at one look.

    held      people hold its lane
    time      a delay, or the pause before its next attempt
    worker    no live worker serves its lane
    slot      all slots of live workers are busy
    turn      ready jobs stand before it, or it is the next one to be taken
    people    it is dead: revive or discard it
    end       it runs

Several may hold at once: a held lane whose job is not due yet waits for both.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from redis.asyncio import Redis

from ops.depth import LaneDepth, read_depth
from ops.jobs.job import Job, look

Wait = Literal["held", "time", "worker", "slot", "turn", "people", "end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A job, its lane, and what it waits for; nothing when it waits no more."""

    job: Job
    lane: LaneDepth | None
    waits_for: tuple[Wait, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as plain values; ``orjson`` writes the datetimes."""
        held = None if self.lane is None or self.lane.held is None else asdict(self.lane.held)
        return {**asdict(self.job), "waits_for": self.waits_for, "held": held}


async def explain(redis: Redis, job_id: str) -> Explained:
    """Look at the job, then at its lane.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    job = await look(redis, job_id)
    if job.state in {"done", "unknown"}:
        return Explained(job=job, lane=None, waits_for=())
    lane = (await read_depth(redis, tenant="")).lane(job.lane)
    return Explained(job=job, lane=lane, waits_for=tuple(waits_for(job, lane)))


def waits_for(job: Job, lane: LaneDepth | None) -> Iterator[Wait]:
    """What keeps the job, most decisive first."""
    if job.state == "dead":
        yield "people"
    elif job.state == "leased":
        yield "end"
    else:
        if lane is not None and lane.held is not None:
            yield "held"
        if job.state != "ready":
            yield "time"
        yield from _for_workers(job, lane)


def _for_workers(job: Job, lane: LaneDepth | None) -> Iterator[Wait]:
    if lane is None or lane.slots.total == 0:
        yield "worker"
    elif job.state == "ready":
        busy = max(lane.slots.busy, lane.leased) >= lane.slots.total
        yield "slot" if busy else "turn"
