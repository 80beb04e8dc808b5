"""Django's own tests of tasks, from its source distribution, on our backend and a worker in this process.

Django's tests of its `DummyBackend` run where nothing carries a task out, those of its `ImmediateBackend` where
``enqueue`` waits for the end. `EXCEPTIONS` has each test that cannot hold here, with the reason.
"""

import asyncio
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import SkipTest

from jobs.lanes import OWN
from worker.engine import LaneSlots, Worker
from worker.own_jobs import client_alias
from worker.own_jobs.duties import functions_of
from worker.own_jobs.load import load_jobs
from worker.own_jobs.processes import Processes
from worker.own_jobs.threads import Threads

client_alias.install_alias()  # a backend and a worker in one process

from django.conf import settings  # noqa: E402  as above
from django.tasks import Task, TaskResult  # noqa: E402
from django.test import override_settings  # noqa: E402
from momentus_client.django.tasks import TaskBackend  # noqa: E402
from tasks.test_immediate_backend import ImmediateBackendTestCase  # noqa: E402
from tasks.test_tasks import TaskTestCase  # noqa: E402

LISTED = "reads the list that Django's backend for tests keeps; ours has its tasks in Redis"
CLASS = "asks for the class of Django's own backend"
SUPPORTED = "asks for a refusal of what our backend supports"
EXCEPTIONS = {
    "test_enqueue_task": LISTED,
    "test_enqueue_task_async": LISTED,
    "test_using_correct_backend": CLASS,
    "test_get_backend": CLASS,
    "test_cannot_get_result": SUPPORTED,
    "test_cannot_refresh_result": SUPPORTED,
    "test_cannot_pass_run_after": SUPPORTED,
    "test_throws_keyboard_interrupt": "a task in a worker cannot interrupt the process that has queued it",
}
CARRIED_OUT = {"test_enqueue_task"}
"""Names that stand in both classes, with other meanings; in the second they hold."""
NEVER = {"BACKEND": f"{TaskBackend.__module__}.{TaskBackend.__qualname__}", "QUEUES": ["default", "queue_1"]}
NEVER |= {"OPTIONS": {"lanes": {"default": {1: "unserved_urgent", -100: "unserved"}}}}
IMMEDIATE = {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend", "QUEUES": []}


class AwaitedBackend(TaskBackend):
    """Our backend, whose tasks have ended when ``enqueue`` returns."""

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        result = super().enqueue(task, args, kwargs)
        end = time.monotonic() + 20
        while not result.is_finished and time.monotonic() < end:
            time.sleep(0.002)
            result.refresh()
        return result


class WorkerThread:
    """A worker with the job module for tasks, and its event loop."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))

    def __enter__(self) -> None:
        self._thread.start()
        self._started.wait()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._worker.handle_sig, signal.SIGTERM)
        self._thread.join()

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        own, threads = load_jobs("momentus_client.django.jobs"), Threads()
        self._worker = Worker(
            functions_of(own, threads, Processes(1, [], None)),
            redis_url=settings.MOMENTUS["URL"],
            lanes=[LaneSlots(OWN, 4)],
            policies={kind: one.job.policy for kind, one in own.handlers.items()},
            handle_signals=False,
        )
        self._started.set()
        await self._worker.async_run()
        await self._worker.close()
        threads.close()


@override_settings(TASKS={"default": NEVER, "immediate": IMMEDIATE, "missing": {"BACKEND": "does.not.exist"}})
class MomentusTaskTests(TaskTestCase):
    def setUp(self) -> None:
        if reason := EXCEPTIONS.get(self._testMethodName):
            raise SkipTest(reason)


@override_settings(TASKS={"default": {"BACKEND": f"{__name__}.AwaitedBackend", "QUEUES": []}})
class MomentusCarriedOutTests(ImmediateBackendTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.enterClassContext(WorkerThread())

    def setUp(self) -> None:
        if self._testMethodName not in CARRIED_OUT and (reason := EXCEPTIONS.get(self._testMethodName)):
            raise SkipTest(reason)


del TaskTestCase, ImmediateBackendTestCase  # Django's runner would run them too
