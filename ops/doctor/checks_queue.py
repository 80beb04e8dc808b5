"""Checks of the queue, its workers and its reports, as `depth` reads them from Redis. Pure.

The exit codes of `depth` and of `doctor` follow from the same findings: 1 if one is ``wrong``.

| a lane with              | is                                                                                |
|--------------------------|-----------------------------------------------------------------------------------|
| ready jobs, no worker    | wrong after 15 s, the time for which a restarted worker may be down               |
| other jobs, no worker    | to review: nothing is late yet                                                    |
| ready jobs, free slots   | wrong after 30 s in which none finished: workers claim within a second            |
| waiting jobs, none ends  | wrong once the forecast says `stuck` (`ops.depth.forecast`): the handlers hang    |
| ready jobs that are late | to review after 5 min, with the forecast's reason: it grows, or it is only behind |
| parked or dead jobs      | to review: an operator, or a newer worker, decides about them                     |
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from ops.depth.ledger import LedgerDepth
from ops.depth.promises import PromiseState
from ops.depth.read import Depth, LaneDepth
from ops.doctor.checks_accounts import judge_account
from ops.doctor.checks_reports import judge_reports
from ops.doctor.checks_workers import judge_worker, worker_name
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.durations import duration_text

_SILENT_MS = 15_000
_RESTARTED = timedelta(seconds=15)
_UNCLAIMED = timedelta(seconds=30)
_BURNS_HOUR, _BURNS_SIX_HOURS = 14.4, 6.0
"""Burn rates that use up the error budget of 30 days within two, or five, days: those of the alerts."""
_UNRECORDED = timedelta(minutes=1)
_LATE = timedelta(minutes=5)
_ELSEWHERE = {"workers.none"}
"""Findings that are wrong only for `doctor`: a queue without jobs misses no worker."""


def judge_depth(depth: Depth) -> Iterator[DoctorFinding]:
    """Judge the queue's figures: missing jobs, missing workers, late jobs, and jobs that wait for an operator."""
    yield from _conservation(depth)
    for doubt in depth.doubts:
        recipients = doubt.refused + doubt.taken
        times = {"since": f"{doubt.since:%H:%M}", "last": f"{doubt.last:%H:%M}"}
        yield warning(
            "mail.doubt", f"{doubt.kind} {doubt.name}", refused=doubt.refused, recipients=recipients, **times
        )
    yield from _workers(depth)
    for lane in depth.lanes:
        yield from _lane(lane)
    for group in depth.ledger:
        yield from _ledger(group)
    for promise in depth.promises:
        yield from _promise(promise)
    for account in depth.accounts:
        yield from judge_account(account)
    yield from judge_reports(depth.reports, at=depth.at)
    for key in sorted({state.key for lane in depth.lanes for state in lane.limits.states if not state.readable}):
        yield wrong("limit.unreadable", f"limit {key}")


def wrong_in_queue(depth: Depth) -> list[DoctorFinding]:
    """Return the findings for which `depth` ends with exit code 1."""
    return [one for one in judge_depth(depth) if one.severity == "wrong" and one.code not in _ELSEWHERE]


def _conservation(depth: Depth) -> Iterator[DoctorFinding]:
    if depth.conserved:
        yield fine("jobs.conserved", "queue")
    else:
        lanes = ", ".join(f"{one.lane} {one.unaccounted:+d}" for one in depth.lanes if not one.conserved)
        yield wrong("jobs.unaccounted", "queue", lanes=lanes)
    for loss in depth.losses:
        yield wrong(
            "redis.data_lost", "queue", group=loss.group, at=f"{loss.at:%Y-%m-%d %H:%M:%S}", jobs=loss.jobs
        )


def _lane(lane: LaneDepth) -> Iterator[DoctorFinding]:
    if lane.held is not None:
        yield warning("lane.held", lane.lane, reason=lane.held.reason)
    elif not lane.workers:
        yield from _unserved(lane)
    elif lane.ready or lane.limits.held_back:
        yield from _late(lane)
    if lane.retrying:
        yield warning("lane.retrying", lane.lane, retrying=lane.retrying)
    if lane.parked:
        yield warning("lane.parked", lane.lane, parked=lane.parked)
    if lane.dead:
        yield warning("lane.dead", lane.lane, dead=lane.dead)


def _unserved(lane: LaneDepth) -> Iterator[DoctorFinding]:
    if lane.ready:
        if lane.why == "quiet":
            yield warning("lane.quiet", lane.lane, ready=lane.ready)
            return
        build = wrong if _waited(lane) >= _RESTARTED else warning
        yield build("lane.no_worker", lane.lane, ready=lane.ready)
    elif waiting := lane.scheduled - lane.parked:
        yield warning("lane.unserved", lane.lane, waiting=waiting)


def _late(lane: LaneDepth) -> Iterator[DoctorFinding]:
    waited, drain = _waited(lane), lane.drain
    values = {"ready": lane.ready, "oldest": duration_text(waited.total_seconds())}
    if lane.why == "not_claiming" and waited >= _UNCLAIMED:
        yield wrong("lane.not_claiming", lane.lane, **values)
    elif drain.state == "stuck":
        waiting, idle = lane.ready + lane.limits.held_back, duration_text(drain.idle_s)
        yield wrong("lane.stuck", lane.lane, idle=idle, leased=lane.leased, waiting=waiting)
    elif drain.state == "growing" and waited >= _LATE:
        yield _growing(lane, values)
    elif lane.why != "limits" and waited >= _LATE:
        yield warning("lane.late", lane.lane, **values)


def _growing(lane: LaneDepth, values: Mapping[str, object]) -> DoctorFinding:
    if lane.drain.limit:
        return warning("lane.over_limit", lane.lane, limit=lane.drain.limit, growth=lane.drain.growth, **values)
    return warning("lane.growing", lane.lane, growth=lane.drain.growth, **values)


def _ledger(group: LedgerDepth) -> Iterator[DoctorFinding]:
    """Judge the ends that wait to be recorded: a recorder writes them within a second."""
    waited = timedelta(milliseconds=group.unrecorded_ms or 0)
    if waited >= _UNRECORDED:
        values = {"unrecorded": group.unrecorded, "oldest": duration_text(waited.total_seconds())}
        yield wrong("ledger.unrecorded", group.group, **values)


def _promise(promise: PromiseState) -> Iterator[DoctorFinding]:
    """Judge a promise of service: its error budget is overdrawn, or will be within days."""
    values: dict[str, object] = {
        "limit": duration_text(promise.limit_ms / 1000),
        "target": f"{promise.target:.3%}",
    }
    if promise.budget_left < 0:
        yield wrong("promise.overdrawn", f"promise {promise.name}", broken=promise.broken, **values)
    elif promise.burn_hour > _BURNS_HOUR or promise.burn_six_hours > _BURNS_SIX_HOURS:
        values |= {"burn": f"{promise.burn_hour:g}", "left": f"{promise.budget_left:.0%}"}
        yield warning("promise.burns", f"promise {promise.name}", **values)


def _waited(lane: LaneDepth) -> timedelta:
    return timedelta(milliseconds=lane.oldest_ms or 0)


def _workers(depth: Depth) -> Iterator[DoctorFinding]:
    if not depth.workers:
        yield wrong("workers.none", "workers")
        return
    silent = [one for one in depth.workers if one.seen_ms > _SILENT_MS]
    for one in silent:
        yield warning("worker.silent", worker_name(one), seconds=one.seen_ms // 1000)
    for one in depth.workers:
        yield from judge_worker(one)
    yield fine("workers.alive", "workers", count=len(depth.workers) - len(silent))
