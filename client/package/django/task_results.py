"""Results of tasks: a task's job in Django's terms. Pure, except that the task's module is imported.

A job that has failed keeps its payload, its history and a reason per failed attempt. So a failure is written as a
text that operators can read and that :func:`read_failure` takes apart again:

    ValueError: no such order
    (by 9f86d081884c7d65 since 2026-11-30T10:00:00.125000+00:00)
    Traceback (most recent call last):
      ...

A job that is done keeps only its result, so the handler returns the task and its workers with the value.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from traceback import format_exception
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from momentus_client.django.task_interface import (
    AnyResult,
    AnyTask,
    Task,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
)
from momentus_client.django.task_jobs import TaskJob
from momentus_client.producers import JobDescription, JobEvent

STATUS = {
    "waiting": TaskResultStatus.READY,
    "running": TaskResultStatus.RUNNING,
    "done": TaskResultStatus.SUCCESSFUL,
    "dead": TaskResultStatus.FAILED,
    "expired": TaskResultStatus.FAILED,
    "suppressed": TaskResultStatus.FAILED,
}
FAILURES = frozenset({"retry", "dead"})
"""Outcomes of attempts that raised; a task that was killed with its worker raised nothing."""
UNKNOWN_WORKER = "unknown"
"""Stands for the worker of an attempt that died with it, or was stopped by its time limit."""
TEXT_LIMIT = 3900
"""Largest number of characters of a failure; the engine keeps 4,000."""
MESSAGE_LIMIT = 800
TIMES = ("started_at", "last_attempted_at", "finished_at")
CLIENT = "momentus_client."
OUR_ROOMS = ("jobs.", "producers.", "sessions.")
"""Packages of the client as a worker names them; it refuses a project with such names of its own."""
CUT = "Traceback (most recent call last):\n  [...]"
"""Beginning of a traceback that was cut."""

_BY = re.compile(r"^\(by (\S+) since (\S+)\)$", re.MULTILINE)
_PREFIX = re.compile(r"\Athe job would be older than [^\n:]+(?::\d\d)* at the next attempt: ")
_PATH = re.compile(r"[A-Za-z_][\w.]*(?=:|\n|\Z)")


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that raised; the start is None if the attempt was ended from outside."""

    error: TaskError = field(repr=False)
    start: "AttemptStart | None" = None


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """The beginning of one attempt."""

    worker: str
    began_at: datetime


def failure_text(error: BaseException, start: AttemptStart) -> str:
    """Return a failed attempt as text, with the end of its traceback if it is long."""
    message = str(error).strip()[:MESSAGE_LIMIT]
    said = f"{error_path(error)}: {message}" if message else error_path(error)
    head = f"{said}\n(by {start.worker} since {start.began_at.isoformat()})\n"
    trace = "".join(format_exception(error))
    room = TEXT_LIMIT - len(head)
    return head + (trace if len(trace) <= room else CUT + trace[len(CUT) - room :])


def error_path(error: BaseException) -> str:
    """Return module and name of an error's class, or only the name of a built-in one."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else kind.__module__
    if module.startswith(OUR_ROOMS) and CLIENT + module.partition(".")[0] in sys.modules:  # not of a backend's own
        module = CLIENT + module
    return f"{module}.{kind.__qualname__}" if module else kind.__qualname__


def read_failure(reason: str) -> Failure:
    r"""Return the failure in a reason; for an end that no task wrote, such as a time limit, as much as is known.

    >>> read_failure("ValueError: no\n(by w since 2026-11-30T10:00:00+00:00)\nTrace").error.exception_class_path
    'builtins.ValueError'
    """
    text = _PREFIX.sub("", reason)
    named, by = _PATH.match(text), _BY.search(text)
    path = named[0] if by and named else "TimeoutError" if text.startswith("TimedOut") else "RuntimeError"
    error = TaskError(
        exception_class_path=path if "." in path else f"builtins.{path}",
        traceback=text[by.end() + 1 :] if by else text,
    )
    return Failure(error, AttemptStart(by[1], datetime.fromisoformat(by[2])) if by else None)


def result_value(job: TaskJob, value: object, result: AnyResult) -> dict[str, Any]:
    """Return the handler's result for a finished task.

    Args:
        result: that of the attempt that is ending.
    """
    return {
        "task": job.compose(job_id=result.id, now=job.enqueued_at),
        "value": value,
        "workers": result.worker_ids,
        **{name: aware(getattr(result, name)).isoformat() for name in TIMES},
    }


def read_result(job_id: str, found: JobDescription) -> AnyResult:
    """Return the result of a task by the description of its job.

    Raises:
        TaskResultDoesNotExist: the job is not a task's, or nothing is left of it.
        TaskResultMismatch: there is no such task any more.
    """
    if found.state not in STATUS or found.kind != TaskJob.kind:
        raise TaskResultDoesNotExist(job_id)
    failures = [read_failure(event.reason) for event in failed_attempts(found.events)]
    if found.state == "done":
        return _successful(job_id, found, failures)
    job = TaskJob.read(found.payload)
    starts = [one.start for one in failures if one.start]
    began = starts[-1].began_at if starts else found.began_at
    return updated(
        ready_result(task_of(job), job, job_id),
        status=STATUS[found.state],
        errors=[one.error for one in failures],
        worker_ids=_worker_ids([one.worker for one in starts], found),
        started_at=local(starts[0].began_at if starts else found.began_at),
        last_attempted_at=local(began),
        finished_at=local(max(found.ended_at, began) if found.ended_at and began else found.ended_at),
    )


def _successful(job_id: str, found: JobDescription, failures: Sequence[Failure]) -> AnyResult:
    ended: Any = found.value
    job = TaskJob.read(ended["task"])
    return updated(
        ready_result(task_of(job), job, job_id),
        status=TaskResultStatus.SUCCESSFUL,
        errors=[one.error for one in failures],
        worker_ids=ended["workers"],
        **{name: local(datetime.fromisoformat(ended[name])) for name in TIMES},
        _return_value=ended["value"],
    )


def ready_result(task: AnyTask, job: TaskJob, job_id: str) -> AnyResult:
    """Return the result of a task that has just been queued."""
    return TaskResult(
        task=task,
        id=job_id,
        status=TaskResultStatus.READY,
        enqueued_at=local(job.enqueued_at),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=job.args,
        kwargs=job.kwargs,
        backend=job.backend,
        errors=[],
        worker_ids=[],
    )


def task_of(job: TaskJob) -> AnyTask:
    """Return the task of a job, as it was queued.

    Raises:
        TaskResultMismatch: no module has a task of that name.
    """
    return task_named(job.task).using(
        priority=job.priority, queue_name=job.queue, run_after=local(job.run_after), backend=job.backend
    )


def task_named(path: str) -> AnyTask:
    """Return the task of a module by its path.

    Raises:
        TaskResultMismatch: it cannot be imported, or is not a task.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise TaskResultMismatch(f"{path} cannot be imported: {error}") from None
    if not isinstance(found, Task):
        raise TaskResultMismatch(f"{path} is not a task; decorate the function with @task")
    return found


def failed_attempts(events: Sequence[JobEvent]) -> list[JobEvent]:
    """Return the failed attempts since the last time that an operator revived the job."""
    failed: list[JobEvent] = []
    for event in events:
        if event.outcome == "revived":
            failed.clear()
        elif event.outcome in FAILURES:
            failed.append(event)
    return failed


def _worker_ids(known: Sequence[str], found: JobDescription) -> list[str]:
    """Return the worker of each attempt."""
    workers = [*known, *([found.worker] if found.state == "running" else [])]
    return [UNKNOWN_WORKER] * (found.attempt - len(workers)) + workers


def updated(result: AnyResult, **attributes: object) -> AnyResult:
    """Change a result in place, as Django's own backends do, although its class is frozen, and return it."""
    for name, value in attributes.items():
        object.__setattr__(result, name, value)
    return result


def local(moment: datetime | None) -> datetime | None:
    """Return a stored time in Django's form: aware, or naive in the project's zone without USE_TZ."""
    if moment is None or settings.USE_TZ:
        return moment
    return timezone.make_naive(moment)


def aware(moment: datetime) -> datetime:
    """Return a Django time in its stored form."""
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def now() -> datetime:
    """Return the time in whole milliseconds, as Redis stamps events: so that no task ends before it began."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
