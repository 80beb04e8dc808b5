"""Promises of the tasks backend. A worker with the job module for tasks serves the Redis of these tests."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.utils import timezone
from momentus_client.django.task_interface import (
    InvalidTask,
    InvalidTaskBackend,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)
from momentus_client.django.task_results import AttemptStart, failure_text, read_failure
from momentus_client.jobs import InvalidJob
from momentus_client.producers import NotEnqueued, PayloadTooLarge, SyncProducer
from shop import tasks
from shop.settings import MOMENTUS, TASK_BACKEND, TASKS

SERVER = redis.Redis.from_url(MOMENTUS["URL"])
READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def until(holds: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + 20
    while not holds():
        if time.monotonic() > end:
            raise AssertionError("it did not come")
        time.sleep(0.005)


def ended(result: TaskResult) -> TaskResult:
    """Wait for the end of a task."""

    def is_finished() -> bool:
        result.refresh()
        return result.is_finished

    until(is_finished)
    return result


def open_databases(pid: int) -> list[Path]:
    """The files of databases that a process has open; none where Linux's /proc is absent."""
    found: list[Path] = []
    for one in Path("/proc").glob(f"{pid}/fd/*"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(one.readlink())
    return [file for file in found if file.suffix == ".sqlite3"]


def with_backend(**options: Any) -> override_settings:
    """Settings with other options of the default backend."""
    return override_settings(TASKS={**TASKS, "default": {"BACKEND": TASK_BACKEND, "OPTIONS": options}})


class TaskPromises(SimpleTestCase):
    def test_a_task_is_carried_out_and_its_value_read_in_another_process(self) -> None:
        queued = tasks.add.enqueue(2, other=3)
        self.assertEqual((queued.status, queued.args, queued.kwargs), (READY, [2], {"other": 3}))
        done = tasks.add.get_result(ended(queued).id)
        self.assertEqual((done.return_value, done.attempts, done.errors), (5, 1, []))
        self.assertEqual((done.task, done.args, done.kwargs), (tasks.add, [2], {"other": 3}))
        self.assertEqual((done.backend, done.enqueued_at), ("default", queued.enqueued_at))
        self.assertLessEqual(done.started_at, done.finished_at)
        self.assertLess(abs(done.last_attempted_at - done.started_at), timedelta(seconds=5))

    def test_asyncio_queues_and_reads(self) -> None:
        async def send() -> tuple[TaskResult, TaskResult]:
            queued = await tasks.add.aenqueue(1, 1)
            return queued, await tasks.add.aget_result(queued.id)

        for _ in range(2):  # each in an event loop of its own
            queued, read = async_to_sync(send)()
            self.assertEqual(queued.id, read.id)
            self.assertEqual(ended(read).return_value, 2)

    def test_a_coroutine_is_a_task_and_its_database_connections_are_closed(self) -> None:
        values = [ended(tasks.add_async.enqueue(1, number)).return_value for number in range(3)]
        self.assertEqual(values, [[1, False], [2, False], [3, False]])

    def test_database_connections_are_closed_after_each_task(self) -> None:
        values = [ended(tasks.open_connection.enqueue()).return_value for _ in range(3)]
        self.assertEqual([was_open for was_open, _ in values], [False] * 3)
        self.assertEqual(open_databases(values[0][1]), [])

    def test_a_task_that_raises_has_failed_with_its_error_and_traceback(self) -> None:
        for task, kind, text in (
            (tasks.fail, LookupError, "no such order: ñ"),
            (tasks.leave, SystemExit, "it leaves"),
        ):
            failed = ended(task.enqueue(*([text] if task is tasks.fail else [])))
            self.assertEqual((failed.status, failed.attempts), (FAILED, 1))
            (error,) = failed.errors
            self.assertIs(error.exception_class, kind)
            self.assertTrue(error.traceback.endswith(f"{kind.__name__}: {text}\n"), error.traceback)
            self.assertTrue(error.traceback.startswith("Traceback (most recent call last):"))
            self.assertIn("shop/tasks.py", error.traceback)
            self.assertLessEqual(failed.started_at, failed.finished_at)
            with self.assertRaisesMessage(ValueError, "Task failed"):
                _ = failed.return_value

    def test_a_value_that_json_does_not_have_is_a_failure(self) -> None:
        for kind in ("nan", "long", "object"):
            failed = ended(tasks.return_anything.enqueue(kind))
            self.assertEqual(failed.status, FAILED, kind)
            self.assertTrue(issubclass(failed.errors[0].exception_class, TypeError | ValueError))

    def test_a_backend_with_tries_repeats_a_task_and_its_context_tells_of_them(self) -> None:
        patient = tasks.succeed_at.using(backend="patient")
        done = ended(patient.enqueue(3))
        self.assertEqual(done.return_value, [3, done.id, 2])
        self.assertEqual((done.attempts, len(set(done.worker_ids))), (3, 1))
        self.assertEqual([one.traceback.splitlines()[-1][-9:] for one in done.errors], ["attempt 1", "attempt 2"])
        self.assertLess(done.started_at, done.last_attempted_at)
        failed = ended(patient.enqueue(4))
        self.assertEqual((failed.status, failed.attempts, len(failed.errors)), (FAILED, 3, 3))
        self.assertLess(failed.started_at, failed.last_attempted_at)

    def test_a_task_decides_by_the_decisions_of_own_jobs(self) -> None:
        given_up = ended(tasks.decide.using(backend="patient").enqueue("give up"))
        self.assertEqual((given_up.status, given_up.attempts), (FAILED, 1))
        self.assertEqual(given_up.errors[0].exception_class.__name__, "GiveUp")
        later = tasks.decide.enqueue("later")
        until(lambda: tasks.decide.get_result(later.id).errors)
        self.assertEqual(tasks.decide.get_result(later.id).status, READY)
        with SyncProducer.connect(MOMENTUS["URL"], budget=5) as producer:
            producer.cancel(later.id)

    def test_a_task_waits_for_its_time(self) -> None:
        now = timezone.now()
        moment = now + timedelta(milliseconds=300, microseconds=-now.microsecond % 1000)
        done = ended(tasks.add.using(run_after=moment).enqueue(1, 2))
        self.assertGreaterEqual(done.started_at, moment)
        self.assertEqual(done.task.run_after, moment)
        for wrong in (timezone.now() + timedelta(days=367), timezone.now().replace(tzinfo=None)):
            self.assertRaisesMessage(InvalidTask, "run_after", tasks.add.using, run_after=wrong)

    def test_a_running_task_is_seen_running(self) -> None:
        running = tasks.wait_for.enqueue("go")
        until(lambda: tasks.wait_for.get_result(running.id).status == RUNNING)
        self.assertEqual(tasks.wait_for.get_result(running.id).attempts, 1)
        SERVER.rpush("go", "1")
        self.assertEqual(ended(running).return_value, "go")

    def test_a_queue_is_a_lane_and_so_is_a_range_of_priorities(self) -> None:
        self.assertTrue(task_backends["default"].supports_priority)
        self.assertFalse(task_backends["patient"].supports_priority)
        self.assertRaises(InvalidTask, tasks.add.using(backend="patient").using, priority=1)
        for task, lane in (
            (tasks.wait_for, "tasks"),
            (tasks.wait_for.using(priority=49), "tasks"),
            (tasks.wait_for.using(priority=-100), "tasks"),
            (tasks.wait_for.using(priority=50), "urgent"),
            (tasks.wait_for.using(queue_name="reports"), "reports"),
            (tasks.wait_for.using(backend="patient"), None),
        ):
            name = "arq:queue:{jobs}:jobs" + (f".{lane}" if lane else "")
            queued = task.using(run_after=timezone.now() + timedelta(hours=1)).enqueue("never")
            self.assertIsNotNone(SERVER.zscore(name, queued.id), name)
            with SyncProducer.connect(MOMENTUS["URL"], budget=5) as producer:
                producer.cancel(queued.id)
        self.assertEqual(ended(tasks.report.enqueue()).return_value, "a report")

    def test_signals_tell_of_a_task_where_it_happens(self) -> None:
        told: list[Any] = []

        def enqueued(sender: type, task_result: TaskResult, **_: object) -> None:
            told.append((sender.__name__, task_result.id, task_result.status))

        task_enqueued.connect(enqueued)
        try:
            done = tasks.succeed_at.using(backend="patient").enqueue(2)
        finally:
            task_enqueued.disconnect(enqueued)
        self.assertEqual(told, [("TaskBackend", done.id, READY)])
        ended(done)
        notes = [one.decode() for one in SERVER.lrange(f"noted:{done.id}", 0, -1)]
        self.assertEqual(notes, ["started RUNNING 1", "started RUNNING 2", "finished SUCCESSFUL 2"])

    def test_results_that_do_not_exist_or_are_of_another_task_are_told_apart(self) -> None:
        mail = "{mail}01kt0000000000000000000000"
        for unknown in ("123", "", "{jobs}01kt0000000000000000000000", mail, "{jobs}"):
            self.assertRaises(TaskResultDoesNotExist, tasks.add.get_result, unknown)
        other = ended(tasks.report.enqueue())
        self.assertRaisesMessage(TaskResultMismatch, "Task does not match", tasks.add.get_result, other.id)

    def test_what_cannot_be_queued_is_refused_by_name(self) -> None:
        self.assertRaisesMessage(TypeError, "Unsupported type", tasks.add.enqueue, object(), 1)
        self.assertRaisesMessage(InvalidJob, "args[0]", tasks.add.enqueue, float("nan"), 1)
        self.assertRaisesMessage(PayloadTooLarge, "bytes; at most 262144", tasks.fail.enqueue, "x" * 300_000)
        self.assertRaisesMessage(InvalidTask, "Queue 'x'", tasks.add.using, queue_name="x")
        self.assertRaisesMessage(InvalidTask, "shop.tasks.undecorated is not a task", tasks.renamed.enqueue)
        with override_settings(MOMENTUS={"URL": "redis://127.0.0.1:1/0"}), with_backend():
            self.assertRaises(NotEnqueued, tasks.add.enqueue, 1, 1)
            self.assertRaises(NotEnqueued, tasks.add.get_result, "{jobs}01kt0000000000000000000000")

    def test_a_task_that_the_worker_does_not_have_has_failed(self) -> None:
        queued = tasks.add.using(run_after=timezone.now() + timedelta(seconds=0.3)).enqueue(1, 1)
        stored = SERVER.get(f"arq:job:{queued.id}")
        SERVER.set(f"arq:job:{queued.id}", stored.replace(b"shop.tasks.add", b"shop.tasks.gone"))
        with SyncProducer.connect(MOMENTUS["URL"], budget=5) as producer:
            until(lambda: producer.describe(queued.id).state == "dead")
            self.assertIn("shop.tasks.gone cannot be imported", producer.describe(queued.id).reason)
        self.assertRaisesMessage(TaskResultMismatch, "shop.tasks.gone", tasks.add.get_result, queued.id)

    def test_a_wrong_option_is_named(self) -> None:
        for options, text in (
            ({"trie": 3}, "TASKS['default']['OPTIONS']['trie']: is not an option; did you mean 'tries'?"),
            ({"tries": 0}, "['tries']: must be a number of attempts from 1 to 100"),
            ({"wait": -1}, "['wait']: must be a timedelta or a number of seconds"),
            ({"lanes": "urgent"}, "TASKS['default']: lanes: must be a dict by queue, not str"),
            ({"lanes": {"default": {}}}, "lanes['default']: must be a lane, or lanes by lowest priority"),
            ({"lanes": {"default": "Urgent!"}}, "TASKS['default']: lane: 'Urgent!' must be"),
            ({"lanes": {"other": "urgent"}}, "['lanes']: 'other' is not in QUEUES"),
            ({"budget": "1"}, "TASKS['default']: MOMENTUS['BUDGET']: must be a number of seconds"),
        ):
            with with_backend(**options), self.assertRaisesMessage(InvalidTaskBackend, text):
                _ = task_backends["default"]
        named = {"default": {"BACKEND": TASK_BACKEND, "QUEUES": ["Big Data"]}}
        with override_settings(TASKS=named), self.assertRaisesMessage(InvalidTaskBackend, "of queue 'Big Data'"):
            _ = task_backends["default"]

    def test_times_are_naive_in_a_project_without_time_zones(self) -> None:
        with override_settings(USE_TZ=False, TIME_ZONE="Europe/Madrid"):
            moment = (timezone.now() + timedelta(milliseconds=200)).replace(microsecond=0)
            done = ended(tasks.add.using(run_after=moment).enqueue(1, 2))
            self.assertEqual((done.return_value, done.task.run_after), (3, moment))
            for one in (done.enqueued_at, done.started_at, done.last_attempted_at, done.finished_at):
                self.assertTrue(timezone.is_naive(one))
                self.assertLess(abs(one - moment), timedelta(minutes=1))

    def test_a_failure_is_one_text_from_which_its_parts_are_read(self) -> None:
        start = AttemptStart("w-1", timezone.now())
        try:
            raise ExceptionGroup("two\nfaults", [ValueError("a: (by x since y)"), InvalidTask("b" * 9000)])
        except ExceptionGroup as error:
            text = failure_text(error, start)
        found = read_failure(text)
        self.assertLessEqual(len(text), 4000)
        self.assertEqual((found.error.exception_class, found.start), (ExceptionGroup, start))
        self.assertTrue(found.error.traceback.startswith("Traceback (most recent call last):\n  [...]"))
        timed_out = read_failure("TimedOut: the handler ran longer than 3 s")
        self.assertEqual((timed_out.error.exception_class, timed_out.start), (TimeoutError, None))


class CommittedTaskPromises(TransactionTestCase):
    def test_a_task_of_a_backend_with_on_commit_is_queued_by_the_commit_and_not_by_a_rollback(self) -> None:
        committed = tasks.add.using(backend="committed")
        with transaction.atomic():
            queued = committed.enqueue(2, 2)
            self.assertRaises(InvalidJob, committed.enqueue, float("nan"), 1)
            self.assertRaises(PayloadTooLarge, committed.enqueue, "a" * 300_000, "b")
            self.assertRaises(TaskResultDoesNotExist, committed.get_result, queued.id)
        self.assertEqual(ended(queued).return_value, 4)
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            rolled_back = committed.enqueue(1, 1)
            raise ZeroDivisionError
        self.assertRaises(TaskResultDoesNotExist, committed.get_result, rolled_back.id)
        self.assertEqual(ended(committed.enqueue(1, 1)).return_value, 2)

    def test_without_that_option_a_task_is_queued_at_once(self) -> None:
        with transaction.atomic():
            self.assertEqual(ended(tasks.add.enqueue(2, 2)).return_value, 4)
