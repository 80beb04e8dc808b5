"""A Django task as a job of its own kind, sent by a backend and run by a worker with :mod:`.jobs`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from momentus_client.jobs import Job, Policy
from momentus_client.producers.identifier import Identifiers

MOST_TRIES = 100
"""Largest value of the option ``tries``; the handler ends a task earlier, after the tries of its backend."""


@dataclass(frozen=True)
class TaskJob(Job, kind="django.task", policy=Policy(tries=MOST_TRIES)):
    """A task with its arguments.

    Attributes:
        task: module and name of the task.
        backend: alias in TASKS.
    """

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    backend: str
    queue: str
    priority: int
    enqueued_at: datetime
    run_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task's job in the lane of its queue, with an id that the sender already knows."""

    job: TaskJob
    lane: str
    job_id: str

    @property
    def kind(self) -> str:
        """The kind of the job."""
        return self.job.kind

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Return the payload. Raises InvalidJob, naming the argument."""
        return self.job.compose(job_id=job_id, now=now)

    def fingerprint(self) -> str:
        """Return the hash of the job."""
        return self.job.fingerprint()


def new_id() -> str:
    """Return the id of a new task."""
    return _identifiers(os.getpid()).new("jobs")


@cache
def _identifiers(_process: int) -> Identifiers:
    """Return this process's generator: at the fork, a thread of the parent may have held the old one's lock."""
    return Identifiers()
