"""The depth as a table for a terminal: aligned columns and a line for each reason.

Texts from elsewhere (hosts, database errors) lose their control characters, so that they cannot move the cursor.
"""

from collections.abc import Iterator

from ops.depth.read import Depth, LaneDepth, LiveWorker
from ops.depth.report_freshness import ReportFreshness
from ops.depth.texts import drain_text, loss_text, why_text
from ops.durations import duration_text
from ops.limits.texts import lane_limit_texts
from ops.mail.doubt import doubt_text
from ops.table import printable, table

_NONE = "-"
_LANE_HEADS = (
    *("LANE", "READY", "LEASED", "SCHEDULED", "RETRYING", "PARKED", "DEAD", "UNCERTAIN", "SUPPRESSED", "OLDEST"),
    *("IN/MIN", "OUT/MIN", "SLOTS", "DRAINS"),
)
_WORKER_HEADS = ("WORKER", "HOST", "PID", "SEEN", "SLOTS BUSY")
_REPORT_HEADS = ("REPORT", "STATE", "AGE", "SOFT", "HARD", "LAST ERROR")


def depth_table(depth: Depth) -> str:
    """Return the whole output of ``depth``: several lines without a newline at the end."""
    blocks = [
        f"{depth.at:%Y-%m-%d %H:%M:%S} UTC",
        table(_LANE_HEADS, [_lane(lane) for lane in depth.lanes], left={0, 13}),
        "\n".join(_notes(depth)),
        table(_WORKER_HEADS, [_worker(worker) for worker in depth.workers], left={0, 1, 4})
        if depth.workers
        else "No worker is alive. Start one: ./run worker",
        table(_REPORT_HEADS, [_report(report) for report in depth.reports], left={0, 1, 5})
        if depth.reports
        else "No report is declared yet; the first worker with a Postgres declares them.",
    ]
    return "\n\n".join(block for block in blocks if block)


def _lane(lane: LaneDepth) -> list[str]:
    counts = (
        lane.ready,
        lane.leased,
        lane.scheduled,
        lane.retrying,
        lane.parked,
        lane.dead,
        lane.uncertain,
        lane.suppressed,
    )
    return [
        lane.lane,
        *(str(number) for number in counts),
        _NONE if lane.oldest_ms is None else duration_text(lane.oldest_ms / 1000),
        f"{lane.in_per_minute:.0f}",
        f"{lane.out_per_minute:.0f}",
        f"{lane.slots.busy}/{lane.slots.total}",
        drain_text(lane.drain),
    ]


def _notes(depth: Depth) -> Iterator[str]:
    for loss in depth.losses:
        yield loss_text(group=loss.group, at=loss.at, times=loss.times, jobs=loss.jobs)
    for lane in depth.lanes:
        if why := why_text(lane.why, slots=lane.slots.total, held=lane.held):
            yield f"{lane.lane}: {printable(why)}"
        yield from (f"{lane.lane}: {printable(text)}" for text in lane_limit_texts(lane.limits))
    for doubt in depth.doubts:
        yield f"{printable(doubt_text(doubt))}; ./run ops mail suppressed"
    for lane in depth.lanes:
        if not lane.conserved:
            yield f"{lane.lane}: NOT CONSERVED: {_imbalance(lane)}; see docs/operations.md"
    if failing := [report.report for report in depth.reports if report.failing]:
        yield f"reports fail: {printable(', '.join(failing))}; see ./run ops reports status"
    for worker in depth.workers:
        yield from _worker_notes(worker)


def _worker_notes(worker: LiveWorker) -> Iterator[str]:
    if worker.faults:
        tasks = ", ".join(f"{task} {count} times" for task, count in sorted(worker.faults.items()))
        yield f"worker {worker.id}: background tasks failed and were restarted: {tasks}; see its log"
    if left := [f"{lane} {one.left_behind}" for lane, one in worker.lanes.items() if one.left_behind]:
        yield f"worker {worker.id}: handlers still run that were told to stop: {', '.join(left)}; restart it"


def _imbalance(lane: LaneDepth) -> str:
    found = lane.accepted - lane.unaccounted
    how = "missing" if lane.unaccounted > 0 else "too many"
    return f"{lane.accepted} jobs accepted, {found} found, {abs(lane.unaccounted)} {how}"


def _worker(worker: LiveWorker) -> list[str]:
    slots = ", ".join(f"{lane} {one.busy}/{one.total}" for lane, one in worker.lanes.items())
    return [worker.id, worker.host, str(worker.pid), f"{duration_text(worker.seen_ms / 1000)} ago", slots]


def _report(report: ReportFreshness) -> list[str]:
    times = [
        _NONE if milliseconds is None else duration_text(milliseconds / 1000)
        for milliseconds in (report.age_ms, report.soft_ms, report.hard_ms)
    ]
    return [report.report, report.state, *times, report.error or _NONE]
