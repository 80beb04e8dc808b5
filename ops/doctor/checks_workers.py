"""Checks of one worker by its heartbeat: failed tasks, handlers that do not end, parts that do not work. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from ops.depth.live_workers import LiveWorker, WorkerTrouble
from ops.doctor.finding import DoctorFinding, warning, wrong
from ops.durations import duration_text
from ops.reports.remedies import remedy_of

_LASTS = timedelta(seconds=15)
"""Time for which a server that restarts may be down."""
_CODES = {"reports": "worker.no_database", "reports process": "worker.reports_ended", "rights": "worker.no_right"}
_USUAL = "start the database, or let its network or its pooler answer"
_LEDGER = "worker.ledger_stands"


def judge_worker(one: LiveWorker) -> Iterator[DoctorFinding]:
    """Return the findings about a live worker."""
    if one.state == "quiet":
        yield warning("worker.quiet", worker_name(one), worker=one.id)
    if one.faults:
        tasks = ", ".join(f"{task} ({count})" for task, count in sorted(one.faults.items()))
        yield warning("worker.faults", worker_name(one), tasks=tasks)
    if left := [f"{lane} ({slots.left_behind})" for lane, slots in one.lanes.items() if slots.left_behind]:
        yield warning("worker.left_behind", worker_name(one), lanes=", ".join(left))
    for trouble in one.troubles:
        yield _trouble(one, trouble)


def worker_name(one: LiveWorker) -> str:
    """Return the name by which operators find a worker's process."""
    return f"{one.host}:{one.pid}"


def _trouble(one: LiveWorker, trouble: WorkerTrouble) -> DoctorFinding:
    lasting = timedelta(seconds=trouble.for_s)
    return (wrong if lasting >= _LASTS else warning)(
        _CODES.get(trouble.part, _LEDGER),
        worker_name(one),
        part=trouble.part,
        error=trouble.error,
        time=duration_text(trouble.for_s),
        remedy=remedy_of(trouble.error, usual=_USUAL),
    )
