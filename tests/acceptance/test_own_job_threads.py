"""Plain functions in threads: they end as coroutines do, and one that does not end takes nothing from others."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import structlog
from redis.asyncio import Redis

from jobs import GiveUp, Job, Policy, Run, TryLater, handles
from jobs.lanes import OWN
from ops.depth.read import read_depth
from ops.depth.table import depth_table
from ops.doctor.checks_queue import judge_depth
from producers import JobResult, Producer, Receipt
from producers.keys import LaneKeys
from tests.counts import counts
from tests.own_worker import of_functions, working
from tests.support import eventually
from worker.engine import runner
from worker.own_jobs import threads as own_threads

KEYS = LaneKeys(OWN)
QUICK = Policy(tries=2, first_wait=timedelta(milliseconds=5))


@dataclass(frozen=True)
class Task(Job, kind="task.do", policy=QUICK):
    word: str = ""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STOP_SECONDS", 0.1)


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """What deaf functions wait for; they end with the test."""
    event = threading.Event()
    yield event
    event.set()


async def ended(producer: Producer, receipt: Receipt) -> JobResult:
    async def result() -> JobResult | None:
        found = await producer.result(receipt.id)
        return None if found.state in {"pending", "unknown"} else found

    found: JobResult | None = await eventually(result, timeout=20)
    assert found is not None
    return found


def dead(redis: Redis, receipt: Receipt) -> Callable[[], Awaitable[object]]:
    return lambda: redis.zscore(KEYS.dead, receipt.id)


async def test_a_blocking_function_blocks_neither_the_loop_nor_the_job_beside_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    del redis
    both = threading.Barrier(2, timeout=20)

    @handles(Task)
    def meet(task: Task) -> str:
        del task
        both.wait()
        return threading.current_thread().name

    async with working(valkey_url, of_functions(meet)):
        receipts = await producer.send_many([Task("a"), Task("b")])
        assert [(await ended(producer, one)).value for one in receipts] == ["job", "job"]


async def test_a_coroutine_that_a_plain_function_returns_is_an_error_and_not_a_result(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async def work(task: Task) -> None: ...

    @handles(Task)
    def decorated(task: Task) -> object:
        return work(task)

    async with working(valkey_url, of_functions(decorated)):
        receipt = await producer.send(Task())
        assert (await ended(producer, receipt)).state == "dead"
    told = b"".join(await redis.lrange(KEYS.history(receipt.id), 0, -1))
    assert b"decorated returned a coroutine, which is never run; write `async def`" in told


RAISED = {
    "StopIteration": (StopIteration("nothing is left"), "RuntimeError: coroutine raised StopIteration"),
    "SystemExit": (SystemExit(3), "SystemExit: 3"),
    "KeyboardInterrupt": (KeyboardInterrupt(), "KeyboardInterrupt"),
    "CancelledError": (asyncio.CancelledError(), "CancelledError"),
    "ValueError": (ValueError("a lone \udc80 surrogate"), "ValueError: a lone \\udc80 surrogate"),
    "GiveUp": (GiveUp("never"), "never"),
}


async def test_whatever_a_function_raises_is_the_outcome_of_its_job_alone(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    del redis

    @handles(Task)
    def fail(task: Task) -> None:
        if task.word:
            raise RAISED[task.word][0]

    async with working(valkey_url, of_functions(fail), slots=1):
        receipts = {word: await producer.send(Task(word)) for word in RAISED}
        for word, receipt in receipts.items():
            found = await ended(producer, receipt)
            assert found.state == "dead"
            assert RAISED[word][1] in found.reason
        assert (await ended(producer, await producer.send(Task()))).state == "done"


async def test_what_a_function_logs_names_its_job(valkey_url: str, redis: Redis, producer: Producer) -> None:
    del redis

    @handles(Task)
    def tell(task: Task) -> object:
        del task
        return structlog.contextvars.get_contextvars()

    async with working(valkey_url, of_functions(tell)):
        receipt = await producer.send(Task())
        value = (await ended(producer, receipt)).value
    assert value == {"job_id": receipt.id, "kind": "task.do", "lane": OWN, "attempt": 1}


@pytest.mark.parametrize("end", ["return", "raise"])
async def test_a_function_that_looks_sees_its_time_limit_and_its_end_counts_as_that(
    valkey_url: str, redis: Redis, producer: Producer, end: str
) -> None:
    del redis

    @handles(Task, timeout=timedelta(seconds=0.05))
    def look(task: Task, run: Run) -> str:
        del task
        while not run.is_stopped():
            time.sleep(0.005)
        if end == "raise":
            raise TryLater("stopped", charged=False)
        return "done in spite of it"

    async with working(valkey_url, of_functions(look)):
        found = await ended(producer, await producer.send(Task()))
    if end == "raise":
        assert "attempt 2 of 2 failed: TimedOut: the handler ran longer than 0.05 s" in found.reason
    else:
        assert found.value == "done in spite of it"


@pytest.mark.usefixtures("impatient")
async def test_a_function_that_does_not_end_frees_its_slot_begins_no_effect_and_is_shown_until_it_ends(
    valkey_url: str, redis: Redis, producer: Producer, go: threading.Event
) -> None:
    begun: list[bool | Awaitable[bool]] = []

    @handles(Task, timeout=timedelta(seconds=0.05))
    def deaf(task: Task, run: Run) -> str:
        if task.word == "deaf":
            go.wait()
            begun.append(run.begin_effect("too late"))
        return task.word

    async with working(valkey_url, of_functions(deaf), slots=1) as own:
        receipt = await producer.send(Task("deaf"))
        await eventually(dead(redis, receipt), timeout=20)
        assert (await ended(producer, await producer.send(Task("next")))).value == "next"

        async def shown() -> bool:
            depth = await read_depth(redis, tenant="default")
            codes = {finding.code for finding in judge_depth(depth)}
            return f"told to stop: {OWN} 1" in depth_table(depth) and "worker.left_behind" in codes

        await eventually(shown)
        go.set()
        await eventually(lambda: begun == [False])
        await eventually(lambda: own.worker.lanes[0].left_behind == 0)
    words = b"\n".join(await redis.lrange(KEYS.history(receipt.id), 0, -1))
    assert b"ran longer than 0.05 s and did not end on its cancellation" in words
    assert b"the previous attempt still runs in this worker" in words


@pytest.mark.usefixtures("impatient")
async def test_with_many_functions_left_behind_a_job_waits_uncharged_and_says_so(
    valkey_url: str, redis: Redis, producer: Producer, go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_threads, "_MOST_LEFT_BEHIND", 2)

    @handles(Task, timeout=timedelta(seconds=0.05))
    def deaf(task: Task) -> None:
        del task
        go.wait()

    async with working(valkey_url, of_functions(deaf)) as own:
        await producer.send_many([Task("a"), Task("b")])
        await eventually(lambda: own.worker.lanes[0].left_behind == 2, timeout=20)
        waiting = await producer.send(Task("c"))

        async def told() -> bool:
            words = b"\n".join(await redis.lrange(KEYS.history(waiting.id), 0, -1))
            return b"2 functions in this worker have not returned" in words and b'"outcome":"deferred"' in words

        await eventually(told)
        assert not await redis.exists(f"arq:retry:{waiting.id}"), "no attempt is charged"
        assert await redis.zscore(KEYS.dead, waiting.id) is None


async def test_idle_threads_are_used_again_and_end_with_the_worker(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    @handles(Task)
    def ident(task: Task) -> int:
        del task
        return threading.get_ident()

    def job_threads() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "job"]

    async with working(valkey_url, of_functions(ident), slots=1):
        await producer.send_many([Task(str(number)) for number in range(20)])
        await eventually(counts(redis, OWN, "done", 20))
        assert len(job_threads()) <= 2
    await eventually(lambda: not job_threads())


ENDING = """
import sys, threading
from worker.own_jobs.threads import end_process
threading.Thread(target=lambda: [sys.stderr.write("x") for _ in iter(int, 1)], name="job", daemon=True).start()
end_process(3)
"""


def test_a_process_ends_with_its_code_although_a_function_still_runs_and_prints() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, timeout=30, check=False)
    assert done.returncode == 3
