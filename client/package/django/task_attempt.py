"""One attempt of a task, from its job to the worker's outcome, with Django's signals.

A receiver of a signal that raises is logged by Django and changes nothing: the task has run all the same.
"""

from typing import Any, Self

from momentus_client.django.task_interface import (
    AnyResult,
    InvalidTaskBackend,
    TaskContext,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)
from momentus_client.django.task_jobs import TaskJob
from momentus_client.django.task_results import (
    AttemptStart,
    failure_text,
    local,
    now,
    read_failure,
    ready_result,
    result_value,
    task_of,
    updated,
)
from momentus_client.django.tasks import TaskBackend
from momentus_client.jobs import GiveUp, Run, TryLater
from momentus_client.jobs.fields import write_value
from momentus_client.producers import NotEnqueued


class TaskAttempt:
    """Attempt of a task that has begun."""

    def __init__(
        self, job: TaskJob, run: Run, start: AttemptStart, backend: TaskBackend, result: AnyResult
    ) -> None:
        self._job = job
        self._run = run
        self._start = start
        self._backend = backend
        self._result = result

    @classmethod
    def begin(cls, job: TaskJob, run: Run) -> Self:
        """Find the task and send ``task_started``.

        Raises:
            GiveUp: it cannot be started: no module has it, or the backend is another one.
            TryLater: Redis did not say what became of the earlier attempts.
        """
        start = AttemptStart(run.worker, now())
        try:
            backend = _backend(job.backend)
            result = ready_result(task_of(job), job, run.id) if run.attempt == 1 else backend.get_result(run.id)
        except NotEnqueued as error:
            raise TryLater(f"the earlier attempts cannot be read: {error}", charged=False) from None
        except Exception as error:  # noqa: BLE001  the task's module may raise anything while it is imported
            raise GiveUp(failure_text(error, start)) from None
        began = local(start.began_at)
        started_at = result.started_at or began
        updated(result, status=TaskResultStatus.RUNNING, started_at=started_at, last_attempted_at=began)
        if run.attempt == 1:
            result.worker_ids.append(run.worker)
        task_started.send_robust(TaskBackend, task_result=result)
        return cls(job, run, start, backend, result)

    def call(self) -> dict[str, Any]:
        """Run the function and return the result to keep. Raises whatever the function raises."""
        task, result = self._result.task, self._result
        context = [TaskContext(task_result=result)] if task.takes_context else []
        value = normalize_json(task.call(*context, *result.args, **result.kwargs))
        write_value(value, Any, "the return value")  # JSON as the engine keeps it: no NaN, no integer over 64 bits
        updated(result, status=TaskResultStatus.SUCCESSFUL, finished_at=local(now()), _return_value=value)
        task_finished.send_robust(TaskBackend, task_result=result)
        return result_value(self._job, value, result)

    def failed(self, error: BaseException) -> TryLater | GiveUp:
        """Return the decision on an error; at the last try, send ``task_finished``."""
        text = failure_text(error, self._start)
        wait = self._backend.wait_after(self._run.attempt)
        if wait is not None and not isinstance(error, GiveUp):
            return TryLater(text, after=wait)
        self._result.errors.append(read_failure(text).error)
        updated(self._result, status=TaskResultStatus.FAILED, finished_at=local(now()))
        task_finished.send_robust(TaskBackend, task_result=self._result)
        return GiveUp(text)


def _backend(alias: str) -> TaskBackend:
    backend = task_backends[alias]
    if not isinstance(backend, TaskBackend):
        raise InvalidTaskBackend(f"TASKS[{alias!r}]: is {type(backend).__name__} in this worker, not TaskBackend")
    return backend
