"""Functions that compute in child processes: real children, killed in every way, and none is left."""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import NamedJob
from jobs.lanes import OWN
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import JobResult, Producer, Receipt
from producers.keys import LaneKeys
from tests.own_worker import FOLDER, of_module, working
from tests.support import eventually, is_running
from worker.own_jobs.load import OwnJobs

KEYS = LaneKeys(OWN)


@pytest.fixture(scope="module")
def busy() -> OwnJobs:
    return of_module("shop.busy")


def work(word: str = "", **fields: Any) -> NamedJob:
    return NamedJob("work.do", {"word": word, **fields})


def brief(word: str = "", **fields: Any) -> NamedJob:
    return NamedJob("work.briefly", {"word": word, **fields})


async def ended(producer: Producer, receipt: Receipt) -> JobResult:
    async def result() -> JobResult | None:
        found = await producer.result(receipt.id)
        return None if found.state in {"pending", "unknown"} else found

    found: JobResult | None = await eventually(result, timeout=40)
    assert found is not None
    return found


async def outcome(producer: Producer, job: NamedJob) -> JobResult:
    return await ended(producer, await producer.send(job))


async def history(redis: Redis, receipt: Receipt) -> str:
    return b"\n".join(await redis.lrange(KEYS.history(receipt.id), 0, -1)).decode()


async def file_in(folder: Path, start: str) -> int:
    """The process of which a job has left a file; waits for it."""

    def found() -> list[Path]:
        return list(folder.glob(f"{start}*"))

    await eventually(found, timeout=40)
    return int(found()[0].name.rpartition("-")[2])


OUTCOMES = {
    "exit": ("dead", "SystemExit: as it was told"),
    "fail": ("dead", "ValueError: a lone \\udc80 surrogate"),
    "stop": ("dead", "StopIteration: nothing is left"),
    "give up": ("dead", "never"),
    "misreport": ("dead", "ValueError: progress: done (1) must be"),
    "snooze": ("done", "slept"),
    "odd": ("done", "1 day"),
    "too large a number": ("done", "a int that JSON cannot hold"),
    "terminate": ("done", "still here"),
}


async def test_what_a_function_raises_or_returns_is_its_jobs_outcome_and_its_child_stays(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    async with working(valkey_url, busy, children=1):
        before = (await outcome(producer, work())).value
        assert before != os.getpid()
        for word, (state, told) in OUTCOMES.items():
            found = await outcome(producer, work(word))
            assert (found.state, told in f"{found.reason}{found.value}") == (state, True), (word, found)
        parked = await producer.send(work("park"))
        await eventually(lambda: redis.hexists(KEYS.parked, parked.id))
        large = (await outcome(producer, work("large", number=3_000_000))).value
        assert large == "x" * 3_000_000
        assert (await outcome(producer, work())).value == before


async def test_a_child_that_dies_charges_its_own_job_and_others_go_on(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    ways = [
        (work("signal", number=signal.SIGKILL), "ended by signal 9 (Killed)"),
        (work("signal", number=signal.SIGSEGV), "ended by signal 11 (Segmentation fault)"),
        (work("leave", number=7), "ended with exit code 7"),
    ]
    async with working(valkey_url, busy, children=2):
        beside = await producer.send(work("rest", number=200))
        receipts = [(await producer.send(job), told) for job, told in ways]
        for receipt, told in receipts:
            assert (await ended(producer, receipt)).state == "done"
            assert told in await history(redis, receipt)
        assert (await ended(producer, beside)).state == "done"
        assert await history(redis, beside) == ""


async def test_a_child_that_dies_while_it_waits_for_a_job_charges_nobody(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    async with working(valkey_url, busy, children=1):
        pid = (await outcome(producer, work())).value
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not is_running(pid))
        receipt = await producer.send(work())
        assert (await ended(producer, receipt)).value != pid
        assert await history(redis, receipt) == ""


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "by", ["its time", pytest.param("cancellation", marks=LONG), pytest.param("the end of the worker", marks=LONG)]
)
async def test_a_stopped_computation_is_killed_with_what_it_has_started(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs, tmp_path: Path, by: str
) -> None:
    job = brief if by == "its time" else work
    grace = timedelta(0) if by == "the end of the worker" else timedelta(seconds=30)
    async with working(valkey_url, busy, children=1, grace=grace):
        receipt = await producer.send(job("other", folder=str(tmp_path)))
        child, other = await file_in(tmp_path, "other-1-"), await file_in(tmp_path, "started-")
        if by == "cancellation":
            assert await producer.cancel(receipt.id) == "stopping"
        if by != "the end of the worker":
            await eventually(lambda: not is_running(child), timeout=20)
            await eventually(lambda: not is_running(other), timeout=20)
            assert (await outcome(producer, work())).value != child
    await eventually(lambda: not is_running(child), timeout=20)
    await eventually(lambda: not is_running(other), timeout=20)
    if by == "its time":
        assert "TimedOut: the handler ran longer than 0.3 s" in await history(redis, receipt)
    if by == "the end of the worker":
        assert await redis.zscore(KEYS.queue, receipt.id) is not None


async def test_the_time_limit_begins_when_a_child_takes_the_job(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    jobs = [NamedJob("work.patiently", {"word": "rest", "number": 100 + one}) for one in range(24)]
    async with working(valkey_url, busy, children=1, slots=len(jobs)):
        receipts = await producer.send_many(jobs)
        assert [(await ended(producer, one)).state for one in receipts] == ["done"] * len(jobs)
        assert [await history(redis, one) for one in receipts] == [""] * len(jobs)


@pytest.mark.long
async def test_a_child_is_replaced_after_as_many_jobs_as_it_may_run(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    del redis
    async with working(valkey_url, busy, children=1, jobs_each=2):
        pids = [(await outcome(producer, work(number=one))).value for one in range(5)]
    assert [pids.count(one) for one in dict.fromkeys(pids)] == [2, 2, 1]


@pytest.mark.long
async def test_what_a_function_leaves_running_touches_no_other_job(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs, tmp_path: Path
) -> None:
    async with working(valkey_url, busy, children=1):
        await outcome(producer, work("thread", folder=str(tmp_path)))
        receipt = await producer.send(work("rest", number=500))
        await eventually((tmp_path / "late False").exists)
        assert await redis.get(KEYS.progress) is None
        assert (await ended(producer, receipt)).state == "done"
    assert await redis.hlen(KEYS.effects) == 0


@pytest.mark.long
async def test_a_function_that_reports_at_any_rate_leaves_the_worker_free_and_its_last_report_arrives(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    async with working(valkey_url, busy, children=2):
        receipt = await producer.send(work("report"))

        async def last() -> bool:
            shown = await redis.hget(KEYS.progress, receipt.id)
            return shown is not None and b'"done":19999' in shown

        await eventually(last, timeout=20)
        assert (await outcome(producer, work())).state == "done"
        await producer.cancel(receipt.id)


async def test_a_job_waits_uncharged_while_no_child_can_be_started(
    valkey_url: str, redis: Redis, producer: Producer, busy: OwnJobs
) -> None:
    async with working(valkey_url, busy, modules=["shop.nowhere"]) as own:
        receipt = await producer.send(work())

        async def told() -> bool:
            return "no child process can be started" in await history(redis, receipt)

        await eventually(told, timeout=40)
        assert '"outcome":"deferred"' in await history(redis, receipt)
        assert own.worker.jobs_failed == 0


def worker_process(url: str) -> Process:
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_WORKER__JOBS": "shop.busy",
            "MOMENTUS_WORKER__JOBS_FOLDER": str(FOLDER),
            "MOMENTUS_WORKER__PROCESSES": "1",
            "MOMENTUS_WORKER__GRACE": "30s",
        },
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=30),
    )


@pytest.mark.long
async def test_signals_to_the_whole_group_let_a_computation_finish_and_no_child_outlives_its_killed_worker(
    valkey_url: str, redis: Redis, producer: Producer, tmp_path: Path
) -> None:
    del redis
    lines: list[str] = []
    async with Supervisor([worker_process(valkey_url)], log=lambda _, line: lines.append(line)) as running:
        receipt = await producer.send(work("rest", number=1500, folder=str(tmp_path)))
        child = await file_in(tmp_path, "rest-1-")
        for number in (signal.SIGINT, signal.SIGTERM):  # a terminal's Ctrl-C, a service manager's stop
            os.kill(child, number)
        running.send_signal("worker", signal.SIGTERM)
        assert await running.wait_exit("worker") == 0
        assert (await producer.result(receipt.id)).value == child
        await eventually(lambda: not is_running(child))
    assert not [line for line in lines if "Traceback" in line]
    async with Supervisor([worker_process(valkey_url)]) as running:
        await producer.send(work("wait", folder=str(tmp_path)))
        child = await file_in(tmp_path, "wait-1-")
        running.send_signal("worker", signal.SIGKILL)
        await eventually(lambda: not is_running(child), timeout=20)
