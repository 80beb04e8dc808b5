"""Explanation of a job that is not done yet: what it waits for, from the job and its lane.

    handover  it is staged in the ledger, and no worker has handed it over yet
    held      its lane is held
    time      a delay, or the pause before its next attempt
    worker    no live worker serves its lane
    quiet     the workers of its lane are quiet or stopping, and claim no new jobs
    slot      all slots of live workers are busy
    ceiling   slots are free, and the workers run as many jobs in all as they may
    claiming  slots are free, and no worker has claimed a job for some time
    limit     no job may begin now under the limit that it names, or under any that its lane needs
    turn      ready jobs are before it, or it is the next one that a worker claims
    ability   it is parked: no worker that claimed it knows its kind or version
    decision  it is parked: an operator must decide before it continues
    people    it is dead: revive or discard it
    end       it runs

Several may apply at once: a held lane whose job is not due yet waits for both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from redis.asyncio import Redis

from ops.depth.drain import Reason
from ops.depth.lane_limits import state_json
from ops.depth.read import LaneDepth, read_depth
from ops.jobs.job import JobState, read_job
from producers.keys import LaneKeys
from producers.limits.limits import Limits, LimitState

if TYPE_CHECKING:
    from ledger.records import LedgerRecord

Wait = Literal[
    "handover",
    "held",
    "time",
    "worker",
    "quiet",
    "slot",
    "ceiling",
    "claiming",
    "turn",
    "limit",
    "ability",
    "decision",
    "people",
    "end",
]
_OF_LANE: Mapping[Reason | None, Wait] = {"ceiling": "ceiling", "not_claiming": "claiming"}
"""What a ready job waits for though slots are free, by its lane's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A job, its lane, and what it waits for; empty if it no longer waits."""

    job: JobState
    lane: LaneDepth | None
    waits_for: tuple[Wait, ...]
    limit: LimitState | None = None
    """The limit that the job itself names, if any."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``orjson`` writes the datetimes."""
        held = None if self.lane is None or self.lane.held is None else asdict(self.lane.held)
        limit = self.limit and state_json(self.limit)
        return {**asdict(self.job), "waits_for": self.waits_for, "held": held, "limit": limit}


async def explain_job(redis: Redis, job_id: str) -> Explanation:
    """Read the job and its lane, and return what it waits for.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    job = await read_job(redis, job_id)
    if job.state in {"done", "suppressed", "expired", "unknown"}:
        return Explanation(job=job, lane=None, waits_for=())
    lane = (await read_depth(redis, tenant="")).lane(job.lane)
    limit, held_back = await _own_limit(redis, job)
    return Explanation(job=job, lane=lane, waits_for=tuple(waits_for(job, lane, held_back=held_back)), limit=limit)


def explain_staged(record: "LedgerRecord", *, at: datetime) -> Explanation:
    """Explain a job of the ledger that Redis has not taken."""
    job = JobState(
        id=record.id,
        at=at,
        state="staged",
        lane=record.lane,
        since=record.staged_at,
        kind=record.kind,
        expires=record.expires_at,
    )
    return Explanation(job=job, lane=None, waits_for=("handover",))


async def _own_limit(redis: Redis, job: JobState) -> tuple[LimitState | None, bool]:
    """Return the limit that a job names, and whether it keeps the job from running."""
    keys = LaneKeys(job.lane)
    key = await redis.hget(keys.limited, job.id)  # type: ignore[misc]  # redis-py types one method for both clients
    if key is None:
        return None, False
    binding = (await Limits(redis, keys.tag).bindings()).get(job.lane)
    (state,) = await Limits(redis, keys.tag).states([key.decode()], urgent=bool(binding and binding.urgent))
    return state, bool(await redis.sismember(keys.held_back, job.id))  # type: ignore[misc]  # the same


def waits_for(job: JobState, lane: LaneDepth | None, *, held_back: bool = False) -> Iterator[Wait]:
    """Yield everything that the job waits for, the most decisive first.

    Args:
        held_back: True if the limit that it names delays it; its due time is then only the next check.
    """
    if job.state == "dead":
        yield "people"
    elif job.state == "leased":
        yield "end"
    elif job.parking is not None:
        yield "ability" if job.parking.why in {"kind", "version"} else "decision"
    else:
        if lane is not None and lane.held is not None:
            yield "held"
        if held_back:
            yield "limit"
        elif job.state != "ready":
            yield "time"
        elif lane is not None and lane.limits.used_up:
            yield "limit"
        yield from _for_workers(job, lane)


def _for_workers(job: JobState, lane: LaneDepth | None) -> Iterator[Wait]:
    if lane is not None and lane.why == "quiet":
        yield "quiet"
    elif lane is None or lane.slots.total == 0:
        yield "worker"
    elif job.state == "ready":
        busy = max(lane.slots.busy, lane.leased) >= lane.slots.total
        yield "slot" if busy else _OF_LANE.get(lane.why, "turn")
