"""Duties of a worker for a backend's own kinds: functions, lanes and crons, in the engine's terms."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from jobs.fields import write_fields
from jobs.lanes import OWN, own_lane
from settings import Settings
from worker.duties import WorkerDuties
from worker.engine import Cron, LaneSlots
from worker.engine.handler import Handler, handler
from worker.events import emit, event
from worker.own_jobs.attempt import in_loop
from worker.own_jobs.load import OwnJobs
from worker.own_jobs.processes import Processes
from worker.own_jobs.threads import Threads

_LANE_UNSERVED = event("worker.lane_unserved")
_EXAMPLE_SLOTS = 10


def add_own_jobs(duties: WorkerDuties, stack: AsyncExitStack, settings: Settings, own: OwnJobs) -> None:
    """Add the backend's own kinds; the stack ends their threads and processes.

    Raises:
        ValueError: a lane of the settings is given twice.
    """
    threads = Threads()
    stack.callback(threads.close)
    size = settings.worker.processes or os.cpu_count() or 1
    processes = Processes(
        size,
        [",".join(own.modules), settings.log_format, settings.log_level],
        settings.worker.jobs_folder,
        jobs_each=settings.worker.process_jobs,
    )
    stack.push_async_callback(processes.close)
    duties.functions += functions_of(own, threads, processes)
    duties.lanes += own_lanes(settings.worker.lanes, settings.worker.jobs_slots)
    for one in unserved_lanes(own, duties.lanes, text=settings.worker.lanes):
        emit(_LANE_UNSERVED, lane=one.lane, kinds=one.kinds, setting=one.setting)
    duties.crons += crons_of(own)
    duties.limits += own.limits
    duties.policies |= {kind: handler.job.policy for kind, handler in own.handlers.items()}


def functions_of(own: OwnJobs, threads: Threads, processes: Processes) -> list[Handler]:
    """Return the engine's function for each kind."""
    places = {"loop": in_loop, "thread": threads.function, "process": processes.function}
    return [
        handler(
            places[one.runs_in](one),
            kind=kind,
            version=one.job.version,
            upcasters=one.upcasters,
            keep_result=one.keep_result,
            timeout=one.timeout,
        )
        for kind, one in own.handlers.items()
    ]


def own_lanes(text: str | None, slots: int) -> list[LaneSlots]:
    """Return the default lane of own jobs, and those in a setting like ``invoices:10, media:2``.

    Raises:
        ValueError: a lane is given twice.

    >>> [(one.lane, one.slots) for one in own_lanes("invoices:3", 10)]
    [('jobs', 10), ('jobs.invoices', 3)]
    """
    pairs = [part.strip().split(":") for part in (text or "").split(",") if part.strip()]
    found = {OWN: slots}
    for name, count in pairs:
        lane = own_lane(name)
        if lane in found:
            remedy = "set MOMENTUS_WORKER__JOBS_SLOTS" if lane == OWN else "keep one of them"
            raise ValueError(f"MOMENTUS_WORKER__LANES: {name} is given twice; {remedy}")
        found[lane] = int(count)
    return [LaneSlots(lane, count) for lane, count in found.items()]


@dataclass(frozen=True, slots=True)
class UnservedLane:
    """Lane that kinds in the job modules use but for which this worker has no slots.

    Attributes:
        kinds: the kinds that name it.
        setting: what to set so that this worker serves it, with an example of its value.
    """

    lane: str
    kinds: tuple[str, ...]
    setting: str


def unserved_lanes(own: OwnJobs, served: Iterable[LaneSlots], *, text: str | None) -> Iterator[UnservedLane]:
    """Yield each lane that the job modules use but the worker does not serve.

    Args:
        text: the setting of the lanes; the example keeps what it has.
    """
    with_slots = {one.lane for one in served if one.slots}
    kinds: dict[str, list[str]] = {}
    for kind, one in sorted(own.handlers.items()):
        for lane in own.lanes.get(kind, [one.job.lane]):
            kinds.setdefault(lane, []).append(kind)
    for lane in sorted(kinds.keys() - with_slots):
        yield UnservedLane(lane, tuple(kinds[lane]), _example_setting(lane, text))


def _example_setting(lane: str, text: str | None) -> str:
    if lane == OWN:
        return f"MOMENTUS_WORKER__JOBS_SLOTS={_EXAMPLE_SLOTS}"
    short = lane.removeprefix(f"{OWN}.")
    kept = [part.strip() for part in (text or "").split(",") if part.strip() and _lane_name(part) != short]
    return f"MOMENTUS_WORKER__LANES={','.join([*kept, f'{short}:{_EXAMPLE_SLOTS}'])}"


def _lane_name(part: str) -> str:
    return part.partition(":")[0].strip()


def crons_of(own: OwnJobs) -> list[Cron]:
    """Return the crons of the kinds with a schedule; each queues a job with the defaults of its class."""
    return [
        Cron(
            name=kind,
            schedule=one.schedule,
            kind=kind,
            lane=one.job.lane,
            payload=write_fields(one.job()),
            version=one.job.version,
        )
        for kind, one in own.handlers.items()
        if one.schedule is not None
    ]
