"""Texts of the commands for jobs. Texts from elsewhere lose their control characters."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from ops.depth.texts import held_text
from ops.durations import duration_text
from ops.jobs.dead import DeadJob
from ops.jobs.explain import Explanation
from ops.jobs.job import JobProgress, JobState
from ops.jobs.operations import ReviveCounts
from ops.jobs.parked import ParkedJob, ParkReason
from ops.jobs.words import DEAD_HEADS, HISTORY_HEADS, LABELS, PARKED_HEADS, SINCE, STATES, WAITS, WORDS
from ops.language import Language
from ops.limits.texts import limit_text
from ops.table import printable, table

ID_LIMIT = 512
MOST_DEAD = 1000


def explained_text(found: Explanation, language: Language = "en") -> str:
    """Return an explanation as text: a few lines, and the job's history."""
    job = found.job
    if job.state == "unknown":
        return WORDS[language]["unknown"].format(id=printable(job.id))
    waits = (_line("waits_for", line, language) for line in wait_texts(found, language))
    lines = [_head(job, language), *_facts(job, language), *_limit(found, language), *waits]
    if job.history:
        rows = [
            [_time(it.at), str(it.attempt or "-"), it.outcome, _without_traceback(it.reason)] for it in job.history
        ]
        lines += ["", table(HISTORY_HEADS[language], rows, left={0, 2, 3})]
    return "\n".join(lines)


def dead_table(found: Sequence[DeadJob], language: Language = "en") -> str:
    """Return dead jobs as a table."""
    words = WORDS[language]
    if not found:
        return words["no_dead"]
    rows = [
        [
            *(job.id, job.lane, _time(job.at), job.kind or words["unreadable"]),
            *(str(job.attempt or "-"), _without_traceback(job.reason)),
        ]
        for job in found
    ]
    return table(DEAD_HEADS[language], rows, left={0, 1, 2, 3, 5})


def _without_traceback(reason: str) -> str:
    """Return a reason for a table; a traceback in it is shown with --json."""
    return reason.partition("Traceback (most recent call last):")[0]


def parked_table(found: Sequence[ParkedJob], language: Language = "en") -> str:
    """Return parked jobs as a table."""
    if not found:
        return WORDS[language]["no_parked"]
    rows = [[job.id, job.lane, job.parking.why, job.parking.needs or "-", job.parking.reason] for job in found]
    return table(PARKED_HEADS[language], rows, left={0, 1, 2, 3, 4})


def revived_all_text(lane: str, counts: ReviveCounts, language: Language = "en") -> str:
    """Return how many jobs were revived, and how many were not and why."""
    words = WORDS[language]
    vanished, staged, erased, suppressed, needs_ledger = (
        words[name].format(count=count, lane=lane) if count else ""
        for name, count in (
            ("vanished", counts.vanished),
            ("staged", counts.staged),
            ("erased", counts.erased),
            ("suppressed", counts.suppressed),
            ("needs_ledger", counts.needs_ledger),
        )
    )
    back = words["back"].format(count=counts.revived, lane=lane, vanished=vanished, staged=staged, erased=erased)
    return back + suppressed + needs_ledger


def _head(job: JobState, language: Language) -> str:
    stopping = WORDS[language]["stopping"] if job.stopping and job.state == "leased" else ""
    return f"{printable(job.id)}: {STATES[language][job.state]}{stopping}"


def _line(label: str, text: str, language: Language) -> str:
    return f"  {LABELS[language][label]:<10} {text}"


def _facts(job: JobState, language: Language) -> Iterator[str]:
    words = WORDS[language]
    version = "" if job.version == 1 else words["version"].format(version=job.version)
    yield _line("lane", job.lane, language)
    yield _line("kind", f"{printable(job.kind) or words['unreadable']}{version}", language)
    if job.fields:
        yield _line("fields", printable(", ".join(job.fields)), language)
    yield _line("attempt", str(job.attempt or "-"), language)
    if job.since is not None:
        yield f"  {SINCE[language][job.state]:<10} {_time(job.since)}"
    if job.expires is not None:
        yield _line("expires", _time(job.expires), language)
    if job.trace:
        yield _line("trace", job.trace, language)
    if job.progress is not None:
        yield _line("progress", _progress_text(job.progress, language), language)


def _limit(found: Explanation, language: Language) -> Iterator[str]:
    if found.limit is not None:
        undefined = "" if found.limit.limit else WORDS[language]["not_defined"]
        yield _line("limit", f"{printable(found.limit.key)}{undefined}", language)


def wait_texts(found: Explanation, language: Language) -> Iterator[str]:
    """Yield a line for each thing that the job waits for."""
    job, lane, words = found.job, found.lane, WORDS[language]
    held = "" if lane is None or lane.held is None else printable(held_text(lane.held, language))
    left = 0.0 if job.since is None else max(0.0, (job.since - job.at).total_seconds())
    parking = job.parking or ParkReason(why="", needs="", reason="")
    place = words["before"].format(count=job.place) if job.place else words["none_before"]
    last = job.history[-1] if job.history else None
    is_deferred = last is not None and last.outcome == "deferred"
    deferred = words["deferred"].format(reason=last.reason) if last is not None and is_deferred else ""
    for wait in found.waits_for:
        yield WAITS[language][wait].format(
            held=held,
            limits=printable(_limits_text(found, language)),
            in_time=duration_text(left) + printable(deferred),
            lane=job.lane,
            slots=0 if lane is None else lane.slots.total,
            place=place,
            worker=printable(job.worker),
            needs=printable(parking.needs),
            why=printable(parking.why),
            reason=printable(parking.reason),
        )


def _limits_text(found: Explanation, language: Language) -> str:
    """Describe the limits that the job needs: its own if that has no room, else those of its lane."""
    if found.limit is not None and (found.limit.room == 0 or found.lane is None):
        return limit_text(found.limit, language)
    return "; ".join(limit_text(one, language) for one in found.lane.limits.states) if found.lane else ""


def _progress_text(progress: JobProgress, language: Language) -> str:
    return WORDS[language]["share"].format(
        done=progress.done,
        total=progress.total,
        percent=100 * progress.done / progress.total,
        note=f" {printable(progress.note)}" if progress.note else "",
        at=_time(progress.at),
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
