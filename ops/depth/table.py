"""The depth as a table for a terminal: aligned columns and a line for each reason.

Texts from elsewhere (hosts, database errors) lose their control characters, so that they cannot move the cursor.
"""

from collections.abc import Iterator

from ops.depth.live_workers import LiveWorker
from ops.depth.promises import PromiseState
from ops.depth.read import Depth, LaneDepth
from ops.depth.report_freshness import ReportFreshness
from ops.depth.table_texts import LANE_HEADS, REPORT_HEADS, STATES, WORDS, WORKER_HEADS
from ops.depth.texts import drain_text, loss_text, why_text
from ops.durations import duration_text
from ops.language import Language
from ops.limits.texts import lane_limit_texts
from ops.mail.doubt import doubt_text
from ops.table import printable, table

_NONE = "-"


def depth_table(depth: Depth, language: Language = "en") -> str:
    """Return the whole output of ``depth``: several lines without a newline at the end."""
    words = WORDS[language]
    lanes = [_lane(lane, language) for lane in depth.lanes]
    workers = [_worker(worker, language) for worker in depth.workers]
    reports = [_report(report, language) for report in depth.reports]
    blocks = [
        f"{depth.at:%Y-%m-%d %H:%M:%S} UTC",
        table(LANE_HEADS[language], lanes, left={0, 13}),
        "\n".join(_notes(depth, language)),
        table(WORKER_HEADS[language], workers, left={0, 1, 4}) if workers else words["no_workers"],
        table(REPORT_HEADS[language], reports, left={0, 1, 5}) if reports else words["no_reports"],
    ]
    return "\n\n".join(block for block in blocks if block)


def _lane(lane: LaneDepth, language: Language) -> list[str]:
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
        drain_text(lane.drain, language),
    ]


def _notes(depth: Depth, language: Language) -> Iterator[str]:
    words = WORDS[language]
    for loss in depth.losses:
        yield loss_text(group=loss.group, at=loss.at, times=loss.times, jobs=loss.jobs, language=language)
    for lane in depth.lanes:
        if why := why_text(lane.why, slots=lane.slots.total, held=lane.held, language=language):
            yield f"{lane.lane}: {printable(why)}"
        yield from (f"{lane.lane}: {printable(text)}" for text in lane_limit_texts(lane.limits, language))
    for one in depth.ledger:
        yield words["ledger"].format(group=one.group, live=one.live, unrecorded=one.unrecorded)
    yield from (printable(_promise(promise, language)) for promise in depth.promises)
    for doubt in depth.doubts:
        yield words["doubt"].format(doubt=printable(doubt_text(doubt, language)))
    for lane in depth.lanes:
        if not lane.conserved:
            yield _imbalance(lane, language)
    if failing := [report.report for report in depth.reports if report.failing]:
        yield words["failing"].format(reports=printable(", ".join(failing)))
    for worker in depth.workers:
        yield from _worker_notes(worker, language)


def _worker_notes(worker: LiveWorker, language: Language) -> Iterator[str]:
    words = WORDS[language]
    if worker.faults:
        tasks = [words["task"].format(task=task, count=count) for task, count in sorted(worker.faults.items())]
        yield words["faults"].format(worker=worker.id, tasks=", ".join(tasks))
    if left := [f"{lane} {one.left_behind}" for lane, one in worker.lanes.items() if one.left_behind]:
        yield words["left_behind"].format(worker=worker.id, lanes=", ".join(left))


def _promise(promise: PromiseState, language: Language) -> str:
    words = WORDS[language]
    return words["promise"].format(
        name=promise.name,
        what=words["report_age" if promise.is_report else "lane_age"],
        limit=duration_text(promise.limit_ms / 1000),
        target=f"{promise.target:.4%}".rstrip("0%").rstrip("."),
        left=f"{promise.budget_left:.0%}",
        hour=f"{promise.burn_hour:g}",
        six=f"{promise.burn_six_hours:g}",
    )


def _imbalance(lane: LaneDepth, language: Language) -> str:
    words = WORDS[language]
    return words["unbalanced"].format(
        lane=lane.lane,
        accepted=lane.accepted,
        found=lane.accepted - lane.unaccounted,
        count=abs(lane.unaccounted),
        how=words["missing" if lane.unaccounted > 0 else "too_many"],
    )


def _worker(worker: LiveWorker, language: Language) -> list[str]:
    slots = ", ".join(f"{lane} {one.busy}/{one.total}" for lane, one in worker.lanes.items())
    seen = WORDS[language]["ago"].format(time=duration_text(worker.seen_ms / 1000))
    return [worker.id, worker.host, str(worker.pid), seen, slots]


def _report(report: ReportFreshness, language: Language) -> list[str]:
    times = [
        _NONE if milliseconds is None else duration_text(milliseconds / 1000)
        for milliseconds in (report.age_ms, report.soft_ms, report.hard_ms)
    ]
    return [report.report, STATES[language][report.state], *times, report.error or _NONE]
