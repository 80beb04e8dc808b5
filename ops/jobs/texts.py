"""Texts of the commands for jobs. Texts from elsewhere lose their control characters."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ops.depth.texts import held_text
from ops.durations import duration_text
from ops.jobs.dead import DeadJob
from ops.jobs.edit import EditOutcome
from ops.jobs.explain import Explanation, Wait
from ops.jobs.job import JobProgress, JobState
from ops.jobs.operations import RemovalOutcome, ReviveCounts, ReviveOutcome
from ops.jobs.parked import ParkedJob, ParkReason, UnparkOutcome
from ops.limits.texts import limit_text
from ops.table import printable, table

ID_LIMIT = 512
MOST_DEAD = 1000

REVIVED: Mapping[ReviveOutcome, str] = {
    "revived": "{id} is back in {lane}.",
    "vanished": "{id} has lost its payload and is counted as vanished in {lane}.",
    "erased": "{id} stays dead: its content was erased (MOMENTUS_MAIL__ERASE_AFTER). "
    "Send it again, and remove this one: ./run ops discard",
    "suppressed": "{id} stays dead: its recipient is suppressed, so it would not be sent. "
    "See why: ./run ops mail suppressed ADDRESS; allow it: ./run ops mail unsuppress ADDRESS; then revive the job",
    "not dead": "{id} is not dead; nothing was done.",
}
TAKEN_OUT: Mapping[RemovalOutcome, str] = {
    "gone": "{id} is removed from {lane} and counted as {how}.",
    "stopping": "{id} runs; its worker stops it within a few seconds and counts it as cancelled in {lane}.",
    "told": "{id} runs and is already being stopped.",
    "running": "{id} runs; only a job that does not run can be discarded. Stop it: ./run ops cancel",
    "foreign": "{id} runs on a stock arq worker, which cannot be stopped from here; nothing was done.",
    "dead": "{id} is already dead; remove it: ./run ops discard",
    "unknown": "{id} neither waits nor runs nor is dead; nothing was done.",
}
UNPARKED: Mapping[UnparkOutcome, str] = {
    "unparked": "{id} is back in {lane}; a worker claims it now.",
    "not parked": "{id} is not parked; nothing was done.",
}
EDITED: Mapping[EditOutcome, str] = {
    "edited": "{id}: changed {fields}. It is still dead; revive it: ./run ops revive",
    "not dead": "{id} is {state}; only a dead job can be edited. Nothing was done.",
    "changed": "{id} changed in the meantime; read it again. Nothing was done.",
}

_SINCE = {
    "ready": "due since",
    "scheduled": "due at",
    "retrying": "due again at",
    "parked": "next check",
    "leased": "lease until",
    "dead": "dead since",
    "done": "done at",
    "suppressed": "not sent (suppressed) at",
    "expired": "expired at",
}
_WAITS: Mapping[Wait, str] = {
    "held": "the lane is {held}",
    "time": "its time, in {in_time}",
    "limit": "{limits}",
    "worker": "a worker: no live one serves {lane}",
    "slot": "a slot: all {slots} are in use; {place} before it",
    "turn": "its turn: {place} before it",
    "ability": "a worker that knows {needs}: deploy one; it unparks the job when it starts",
    "decision": "an operator, {why}: {reason}; decide: ./run ops unpark, or ./run ops discard",
    "people": "an operator: ./run ops revive, edit or discard",
    "end": "nothing: it runs on worker {worker}",
}
_UNKNOWN = (
    "{id}: unknown. No trace is left: done long ago, discarded, cancelled, or it never existed. "
    "In a shell, put the id in quotes."
)


def explained_text(found: Explanation) -> str:
    """Return an explanation as text: a few lines, and the job's history."""
    job = found.job
    if job.state == "unknown":
        return _UNKNOWN.format(id=printable(job.id))
    lines = [_head(job), *_facts(job), *_limit(found), *(f"  waits for  {line}" for line in _waits(found))]
    if job.history:
        rows = [
            [_time(it.at), str(it.attempt or "-"), it.outcome, _without_traceback(it.reason)] for it in job.history
        ]
        lines += ["", table(("AT", "ATTEMPT", "OUTCOME", "REASON"), rows, left={0, 2, 3})]
    return "\n".join(lines)


def dead_table(found: Sequence[DeadJob]) -> str:
    """Return dead jobs as a table."""
    if not found:
        return "There is no dead job."
    rows = [
        [
            *(job.id, job.lane, _time(job.at), job.kind or "unreadable"),
            *(str(job.attempt or "-"), _without_traceback(job.reason)),
        ]
        for job in found
    ]
    return table(("ID", "LANE", "DEAD SINCE", "KIND", "ATTEMPT", "REASON"), rows, left={0, 1, 2, 3, 5})


def _without_traceback(reason: str) -> str:
    """Return a reason for a table; a traceback in it is shown with --json."""
    return reason.partition("Traceback (most recent call last):")[0]


def parked_table(found: Sequence[ParkedJob]) -> str:
    """Return parked jobs as a table."""
    if not found:
        return "There is no parked job."
    rows = [[job.id, job.lane, job.parking.why, job.parking.needs or "-", job.parking.reason] for job in found]
    return table(("ID", "LANE", "WHY", "NEEDS", "REASON"), rows, left={0, 1, 2, 3, 4})


def revived_all_text(lane: str, counts: ReviveCounts) -> str:
    """Return how many jobs were revived, and how many were not and why."""
    vanished = f"; {counts.vanished} had lost their payload and are counted as vanished" if counts.vanished else ""
    erased = f"; {counts.erased} stay dead because their content was erased" if counts.erased else ""
    return f"{counts.revived} jobs are back in {lane}{vanished}{erased}.{_held_back(lane, counts.suppressed)}"


def _held_back(lane: str, suppressed: int) -> str:
    if not suppressed:
        return ""
    return (
        f"\n{suppressed} stay dead: their recipients are suppressed, so they would not be sent. See why: "
        "./run ops mail suppressed\nIf a server was at fault, allow them again: "
        f"./run ops mail unsuppress --domain DOMAIN --since 2h; then ./run ops revive --all {lane}"
    )


def _head(job: JobState) -> str:
    stopping = ", and is being stopped" if job.stopping and job.state == "leased" else ""
    return f"{printable(job.id)}: {job.state}{stopping}"


def _facts(job: JobState) -> Iterator[str]:
    yield f"  lane       {job.lane}"
    version = "" if job.version == 1 else f", version {job.version}"
    yield f"  kind       {printable(job.kind) or 'unreadable'}{version}"
    if job.fields:
        yield f"  fields     {printable(', '.join(job.fields))}"
    yield f"  attempt    {job.attempt or '-'}"
    if job.since is not None:
        yield f"  {_SINCE[job.state]:<10} {_time(job.since)}"
    if job.expires is not None:
        yield f"  expires    {_time(job.expires)}"
    if job.progress is not None:
        yield f"  progress   {_progress_text(job.progress)}"


def _limit(found: Explanation) -> Iterator[str]:
    if found.limit is not None:
        yield f"  limit      {printable(found.limit.key)}{'' if found.limit.limit else ', not defined'}"


def _waits(found: Explanation) -> Iterator[str]:
    job, lane = found.job, found.lane
    held = "" if lane is None or lane.held is None else printable(held_text(lane.held))
    left = 0.0 if job.since is None else max(0.0, (job.since - job.at).total_seconds())
    parking = job.parking or ParkReason(why="", needs="", reason="")
    place = "no ready job" if not job.place else f"{job.place} ready jobs"
    last = job.history[-1] if job.history else None
    deferred = f" (deferred: {last.reason})" if last is not None and last.outcome == "deferred" else ""
    for wait in found.waits_for:
        yield _WAITS[wait].format(
            held=held,
            limits=printable(_limits_text(found)),
            in_time=duration_text(left) + printable(deferred),
            lane=job.lane,
            slots=0 if lane is None else lane.slots.total,
            place=place,
            worker=printable(job.worker),
            needs=printable(parking.needs),
            why=printable(parking.why),
            reason=printable(parking.reason),
        )


def _limits_text(found: Explanation) -> str:
    """Describe the limits that the job needs: its own if that has no room, else those of its lane."""
    if found.limit is not None and (found.limit.room == 0 or found.lane is None):
        return limit_text(found.limit)
    return "; ".join(limit_text(one) for one in found.lane.limits.states) if found.lane else ""


def _progress_text(progress: JobProgress) -> str:
    share = f"{progress.done:g} of {progress.total:g} ({100 * progress.done / progress.total:.0f} %)"
    return f"{share}{' ' + printable(progress.note) if progress.note else ''}, reported at {_time(progress.at)}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
