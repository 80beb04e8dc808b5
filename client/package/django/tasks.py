"""TASKS on Momentus Jobs: ``TASKS = {"default": {"BACKEND": "momentus_client.django.tasks.TaskBackend"}}``.

A task is one job in the lane of its queue; a worker with the job module `momentus_client.django.jobs` runs it.
``OPTIONS`` are described in :mod:`.task_options`.

    READY       queued, waiting for its time, or for its next try
    RUNNING     a worker runs it
    SUCCESSFUL  its value is kept for as long as the worker keeps results
    FAILED      its last try raised; kept until an operator revives or discards its job

A task runs again if its worker died, so it must be safe to run twice. It is queued when ``enqueue`` returns, or
with ``on_commit`` after the commit; until then its result does not exist for others.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from momentus_client.django.commit import check_send
from momentus_client.django.connections import producer
from momentus_client.django.task_interface import (
    AnyResult,
    AnyTask,
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    normalize_json,
    task_enqueued,
)
from momentus_client.django.task_jobs import TaskJob, TaskMessage, new_id
from momentus_client.django.task_options import LONGEST_WAIT, read_options
from momentus_client.django.task_results import aware, now, read_result, ready_result, task_named
from momentus_client.producers import InvalidRequest
from momentus_client.producers.send_options import LONGEST_DELAY


class TaskBackend(BaseTaskBackend):
    """Backend of ``django.tasks``, and of the package ``django-tasks`` before Django 6.

    ``supports_priority`` is true of a backend whose option ``lanes`` gives a queue several lanes: a task never
    waits behind one of another lane. Within a lane the oldest goes first, whatever the priorities.

    ``aenqueue`` and ``aget_result`` are Django's: they call these methods in a thread, that of the transactions.

    Raises:
        InvalidTaskBackend: an option is unknown or invalid.

    Example:
        TASKS = {"default": {"BACKEND": "momentus_client.django.tasks.TaskBackend", "OPTIONS": {"tries": 3}}}
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._options = read_options(alias, self.options, self.queues)
        self.supports_priority = self._options.has_priorities

    @property
    def lanes(self) -> frozenset[str]:
        """The lanes of its queues."""
        return self._options.lanes_of(self.queues or self._options.lanes.keys())

    def wait_after(self, attempt: int) -> timedelta | None:
        """Return the wait before the next try of a task that raised, or None after the last one."""
        if attempt >= self._options.tries:
            return None
        return min(LONGEST_WAIT, self._options.wait * (1 << min(attempt - 1, 20)))

    def validate_task(self, task: AnyTask) -> None:
        """Check a task.

        Raises:
            InvalidTask: this backend cannot run it as it is.
        """
        super().validate_task(task)
        self._options.lane(task.queue_name, task.priority)
        if task.run_after is not None and aware(task.run_after) - now() > LONGEST_DELAY:
            raise InvalidTask(f"run_after: must be within {LONGEST_DELAY.days} days")

    def enqueue(  # type: ignore[override]  # the stubs tie it to the types of the task's function
        self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> AnyResult:
        """Queue a task and return its result, which is not known yet.

        Raises:
            InvalidTask: this backend cannot run the task.
            TypeError, ValueError: an argument is not JSON.
            PayloadTooLarge: the arguments are over 256 KiB.
            NotEnqueued: Redis did not take the task within the budget.
        """
        message = self._message(task, args, kwargs)
        result = ready_result(task, message.job, message.job_id)

        def enqueue_momentus_task() -> None:  # Django logs this name
            producer(self._options.connection).send(message, at=message.job.run_after)
            task_enqueued.send(type(self), task_result=result)

        using = self._options.connection.on_commit
        if using is not None and transaction.get_connection(using).in_atomic_block:
            check_send(message, at=message.job.run_after)
            transaction.on_commit(enqueue_momentus_task, using=using, robust=True)
        else:
            enqueue_momentus_task()
        return result

    def get_result(self, result_id: str) -> AnyResult:
        """Return the current result of a task by its id.

        Raises:
            TaskResultDoesNotExist: there is none, or it ended longer ago than results are kept.
            TaskResultMismatch: the project has no such task any more.
            NotEnqueued: Redis did not reply within the budget.
        """
        try:
            found = producer(self._options.connection).describe(result_id)
        except InvalidRequest:
            raise TaskResultDoesNotExist(result_id) from None
        return read_result(result_id, found)

    def _message(self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskMessage:
        self.validate_task(task)
        _check_path(task)
        normal: Any = normalize_json([args, kwargs])
        job = TaskJob(
            task=task.module_path,
            args=normal[0],
            kwargs=normal[1],
            backend=self.alias,
            queue=task.queue_name,
            priority=task.priority,
            enqueued_at=now(),
            run_after=None if task.run_after is None else aware(task.run_after),
        )
        return TaskMessage(job, self._options.lane(task.queue_name, task.priority), new_id())


def _check_path(task: AnyTask) -> None:
    """Check that a worker can find the task by module and name. Raises InvalidTask."""
    try:
        found = task_named(task.module_path)
    except TaskResultMismatch as error:
        raise InvalidTask(f"{error}; workers find the task by this path") from None
    if found.func is not task.func:
        raise InvalidTask(f"{task.module_path} is a different task; workers find the task by this path")
