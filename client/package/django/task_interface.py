"""The task interface under one set of names: `django.tasks` since Django 6, `django-tasks` before.

Type checkers see Django's own.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import django

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import (
        DEFAULT_TASK_QUEUE_NAME as DEFAULT_TASK_QUEUE_NAME,
        TaskContext as TaskContext,
        TaskResult as TaskResult,
        TaskResultStatus as TaskResultStatus,
        task_backends as task_backends,
    )
    from django.tasks.backends.base import BaseTaskBackend as BaseTaskBackend
    from django.tasks.base import Task as Task, TaskError as TaskError
    from django.tasks.exceptions import (
        InvalidTask as InvalidTask,
        InvalidTaskBackend as InvalidTaskBackend,
        TaskResultDoesNotExist as TaskResultDoesNotExist,
        TaskResultMismatch as TaskResultMismatch,
    )
    from django.tasks.signals import (
        task_enqueued as task_enqueued,
        task_finished as task_finished,
        task_started as task_started,
    )
    from django.utils.json import normalize_json as normalize_json
else:
    from django_tasks import (
        DEFAULT_TASK_QUEUE_NAME as DEFAULT_TASK_QUEUE_NAME,
        TaskContext as TaskContext,
        TaskResult as TaskResult,
        TaskResultStatus as TaskResultStatus,
        task_backends as task_backends,
    )
    from django_tasks.backends.base import BaseTaskBackend as BaseTaskBackend
    from django_tasks.base import Task as Task, TaskError as TaskError
    from django_tasks.exceptions import (
        InvalidTaskBackendError as InvalidTaskBackend,  # noqa: F401  the names of `django.tasks`
        InvalidTaskError as InvalidTask,  # noqa: F401  as above
        TaskResultDoesNotExist as TaskResultDoesNotExist,
        TaskResultMismatch as TaskResultMismatch,
    )
    from django_tasks.signals import (
        task_enqueued as task_enqueued,
        task_finished as task_finished,
        task_started as task_started,
    )
    from django_tasks.utils import normalize_json as normalize_json

if TYPE_CHECKING:
    AnyTask: TypeAlias = Task[..., Any]
    AnyResult: TypeAlias = TaskResult[..., Any]
else:  # generic for type checkers alone
    AnyTask, AnyResult = Task, TaskResult
