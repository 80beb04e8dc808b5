"""Tasks of the shop, and what its receivers of Django's signals note in Redis."""

import os
from typing import Any

import django
import redis
from asgiref.sync import sync_to_async
from django.db import connection
from momentus_client.jobs import GiveUp, TryLater

if django.VERSION >= (6, 0):
    from django.tasks import TaskContext, task
    from django.tasks.signals import task_finished, task_started
else:
    from django_tasks import TaskContext, task
    from django_tasks.signals import task_finished, task_started

SERVER = redis.Redis.from_url(os.environ["SHOP_REDIS"])


def note(name: str) -> Any:
    """A receiver that writes down a signal under the id of its task."""

    def receive(task_result: Any, **_: object) -> None:
        SERVER.rpush(f"noted:{task_result.id}", f"{name} {task_result.status} {task_result.attempts}")

    return receive


STARTED, FINISHED = note("started"), note("finished")
task_started.connect(STARTED)
task_finished.connect(FINISHED)


@task
def add(one: int, other: int) -> int:
    return one + other


@task
async def add_async(one: int, other: int) -> list[object]:
    return [one + other, await sync_to_async(opened)()]


def opened() -> bool:
    """Whether this thread has a connection to the database; afterwards it has."""
    was_open = connection.connection is not None
    connection.ensure_connection()
    return was_open


@task
def open_connection() -> list[int]:
    return [opened(), os.getpid()]


@task
def fail(text: str) -> None:
    raise LookupError(text)


@task
def leave() -> None:
    raise SystemExit("it leaves")


@task
def return_anything(kind: str) -> object:
    return {"nan": float("nan"), "long": 2**70, "object": object()}[kind]


@task(takes_context=True)
def succeed_at(context: TaskContext, attempt: int) -> list[object]:
    if context.attempt < attempt:
        raise ValueError(f"attempt {context.attempt}")
    return [context.attempt, context.task_result.id, len(context.task_result.errors)]


@task
def decide(what: str) -> None:
    raise GiveUp("no such order") if what == "give up" else TryLater("the bank is closed")


@task
def wait_for(name: str) -> str:
    """Return once a test puts something into a list."""
    SERVER.blpop(name, timeout=20)
    return name


@task(queue_name="reports")
def report() -> str:
    return "a report"


def undecorated() -> None:
    """Known by its name, but as a function."""


renamed = task(undecorated)
