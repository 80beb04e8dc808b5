"""Job module of Django's tasks: ``MOMENTUS_WORKER__JOBS=momentus_client.django.jobs``.

It sets Django up when it is imported, so a worker needs ``DJANGO_SETTINGS_MODULE``, and Django and the project on
its module path. Each task runs in a thread; a coroutine in an event loop of its own there. As around a request,
unusable database connections are closed before and after it.

A task may also raise ``TryLater``, ``GiveUp`` or ``Park`` of `momentus_client.jobs`.
"""

import os
from typing import Any

import django
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections
from momentus_client.django.task_attempt import TaskAttempt
from momentus_client.django.task_interface import task_backends
from momentus_client.django.task_jobs import TaskJob
from momentus_client.django.tasks import TaskBackend
from momentus_client.jobs import Park, Run, TryLater, handles


def _set_up() -> None:
    """Set up Django unless the importing program has done so. Raises ImproperlyConfigured."""
    if apps.ready:
        return
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        raise ImproperlyConfigured(
            "DJANGO_SETTINGS_MODULE: is not set; name your project's settings, like shop.settings"
        )
    django.setup()


_set_up()


LANES = {TaskJob.kind: {lane for one in task_backends.all() if isinstance(one, TaskBackend) for lane in one.lanes}}
"""Lanes of the tasks; a worker warns of those that it does not serve."""


@handles(TaskJob)
def run_task(job: TaskJob, run: Run) -> dict[str, Any]:
    """Run one attempt of a task."""
    close_old_connections()
    try:
        return _run(TaskAttempt.begin(job, run))
    finally:
        close_old_connections()


def _run(attempt: TaskAttempt) -> dict[str, Any]:
    try:
        return attempt.call()
    except (TryLater, Park):
        raise
    except BaseException as error:  # noqa: BLE001  SystemExit too is how the task ended
        raise attempt.failed(error) from None
