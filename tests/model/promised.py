"""Which keys docs/wire.md promises for what the model knows: their contents and times to live."""

from collections.abc import Mapping

from producers.keys import LaneKeys
from tests.model.job import Job
from tests.model.queue_model import QueueModel
from tests.model.wire import Keyspace, Value

Contents = Mapping[str, Value]


def promised(model: QueueModel) -> Keyspace:
    """Every key of the queue, but for wake tokens, counts per minute, and limits with their places."""
    lasting = {**_of_the_group(model), **_of_each_job(model)}
    for lane in model.lanes:
        lasting |= _of_a_lane(model, lane)
    return {name: (value, -1) for name, value in lasting.items() if value} | _mortal(model)


def _of_a_lane(model: QueueModel, lane: str) -> Contents:
    keys, queued = LaneKeys(lane), model.queued(lane)
    dead = [job for job in model.jobs.values() if job.lane == lane and job.dead_at is not None]
    return {
        keys.queue: {job.id: job.due for job in queued},
        keys.leases: {job.id: job.deadline for job in queued if job.deadline is not None},
        keys.retrying: {job.id for job in queued if job.retrying},
        keys.held_back: {job.id for job in queued if job.waits_from},
        keys.parked: {job.id: job.parked for job in queued if job.parked},
        keys.dead: {job.id: job.dead_at for job in dead},
    }


def _of_the_group(model: QueueModel) -> Contents:
    keys = LaneKeys(model.lanes[0])
    living = [job for job in model.jobs.values() if job.dead_at is None]
    until = {f"lane:{lane}": {"until_ms": until, "reason": ""} for lane, until in model.holds.items()}
    return {
        keys.counters: {name: b"%d" % count for name, count in model.counters.items() if count},
        keys.lapses: {job.id: b"%d" % job.lapses for job in living if job.lapses},
        keys.effects: {job.id: b"%d" % job.effect for job in living if job.effect},
        keys.uncertain: dict(model.uncertain),
        keys.next: {job.id: b"%d %s" % job.following for job in living if job.following},
        keys.progress: {job.id: job.progress for job in living if job.progress},
        keys.adopted: {job.id for job in living if job.foreign and job.counted},
        keys.cancelled: {job.id for job in living if job.stopping},
        keys.keyed: {
            job.id: b"%d %s" % (job.key_until, job.key.encode()) for job in model.jobs.values() if job.key
        },
        keys.limited: {job.id: job.limit.encode() for job in model.jobs.values() if job.limit},
        keys.holds: until,
        **{keys.blocked(limit): _blocked(living, limit) for limit in model.places},
    }


def _blocked(living: list[Job], limit: str) -> dict[str, int]:
    return {f"{job.lane} {job.id}": job.waits_from for job in living if job.limit == limit and job.waits_from}


def _of_each_job(model: QueueModel) -> Contents:
    return {
        f"arq:retry:{job.id}": b"%d" % job.failed
        for job in model.jobs.values()
        if job.failed and job.dead_at is None
    }


def _mortal(model: QueueModel) -> Keyspace:
    """What lives for a time, or may."""
    keys = LaneKeys(model.lanes[0])
    found: Keyspace = {
        f"arq:job:{job.id}": (job.payload, job.payload_expires) for job in model.jobs.values() if job.payload
    }
    for prefix, mortals in (
        ("arq:in-progress:", model.tokens),
        ("arq:result:", model.results),
        (f"momentus:{keys.tag}:unique:", model.unique),
    ):
        found |= {f"{prefix}{name}": (mortal.content, mortal.expires) for name, mortal in mortals.items()}
    for job_id, history in model.histories.items():
        found[keys.history(job_id)] = list(history.events), history.expires
    return found
