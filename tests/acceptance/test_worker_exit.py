"""A worker's process ends within the grace and five seconds after SIGTERM, whatever its handlers do."""

import asyncio
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis

from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.workers.order import order_worker
from producers import Producer
from producers.keys import LaneKeys
from tests.notes import LANE, Note
from tests.support import eventually
from worker.engine import LaneSlots, Worker, runner, worker
from worker.engine.handler import handler

KEYS = LaneKeys(LANE)
ROOT = Path(__file__).parents[2]


async def _take(context: dict[str, Any], text: str) -> None:
    """The handler of the worker's process: notes that it began, then does what the note says."""
    await context["redis"].set(f"begun:{text}", 1)
    await getattr(sys.modules[__name__], f"handle_{text}")()


async def handle_deaf() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def handle_thread() -> None:
    await asyncio.to_thread(time.sleep, 600)


async def handle_own_thread() -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()


async def handle_block() -> None:
    time.sleep(600)  # noqa: ASYNC251  the event loop stands still


async def handle_busy() -> None:
    while True:
        pass


async def handle_child() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    await asyncio.gather(asyncio.create_task(leave()), return_exceptions=True)


async def handle_fine() -> None:
    return


def _work(url: str, loop: str, *, hurry: bool) -> None:
    """The worker's process, with a grace of a moment, and in a hurry with a tenth of all times."""
    if hurry:
        runner.STOP_SECONDS /= 10
        worker._EXIT_TIME /= 10
        worker._RECORDING_TIME /= 10
    asyncio.set_event_loop(uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop())
    grace = timedelta(milliseconds=200)
    Worker([handler(_take, kind=Note.kind)], redis_url=url, lanes=[LaneSlots(LANE, 5)], grace=grace).run()


def working(url: str, name: str, loop: str = "uvloop", *, hurry: bool = True) -> Process:
    code = f"from tests.acceptance.test_worker_exit import _work; _work({url!r}, {loop!r}, hurry={hurry})"
    return Process(
        name=name,
        argv=[sys.executable, "-c", code],
        environment={"PYTHONPATH": str(ROOT)},
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=60),
    )


async def stopped(url: str, redis: Redis, text: str, loop: str = "uvloop", *, hurry: bool = True) -> int:
    """The exit code of a worker that was asked to stop while it ran such a handler."""
    async with (
        Producer.connect(url, budget=5) as producer,
        Supervisor([working(url, "worker", loop, hurry=hurry)]) as running,
    ):
        await producer.send(Note(text))
        await eventually(lambda: redis.exists(f"begun:{text}"), timeout=20)
        running.send_signal("worker", signal.SIGTERM)
        async with asyncio.timeout(10):  # a fifth of what those handlers would take, and more than grace and 5 s
            return await running.wait_exit("worker")


async def is_handed_back(redis: Redis) -> bool:
    (job,) = await redis.zrange(KEYS.queue, 0, -1)
    held = await redis.exists(KEYS.leases, f"arq:in-progress:{job.decode()}", f"arq:retry:{job.decode()}")
    return held == 0


@pytest.mark.parametrize("text", ["deaf", "thread", "own_thread"])
async def test_a_process_ends_although_its_handler_would_not_and_its_job_goes_back_uncharged(
    valkey_url: str, redis: Redis, text: str
) -> None:
    assert await stopped(valkey_url, redis, text) == 0
    assert text == "own_thread" or await is_handed_back(redis)


async def test_a_process_that_an_operator_stops_ends_as_by_sigterm(valkey_url: str, redis: Redis) -> None:
    async with Supervisor([working(valkey_url, "worker")]) as running:
        await eventually(lambda: redis.zcard(KEYS.workers), timeout=20)
        (worker_id,) = await redis.zrange(KEYS.workers, 0, -1)
        assert await order_worker(redis, worker_id.decode(), "stop") == "ordered"
        async with asyncio.timeout(20):
            assert await running.wait_exit("worker") == 0
    assert await order_worker(redis, worker_id.decode(), "stop") == "gone"


@pytest.mark.parametrize("text", ["block", pytest.param("busy", marks=pytest.mark.long)])
async def test_a_process_whose_event_loop_stands_still_ends_and_says_that_it_was_cut_off(
    valkey_url: str, redis: Redis, text: str
) -> None:
    assert await stopped(valkey_url, redis, text) == 1


@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("text", ["deaf", "thread", "own_thread", "block", "busy"])
async def test_a_process_ends_within_the_grace_and_five_seconds(
    valkey_url: str, redis: Redis, text: str, loop: str
) -> None:
    assert await stopped(valkey_url, redis, text, loop, hurry=False) == (text in {"block", "busy"})


@pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.long)])
async def test_a_task_of_a_handler_that_wants_to_end_the_process_ends_nothing_else(
    valkey_url: str, redis: Redis, loop: str
) -> None:
    async def done() -> bool:
        return int(await redis.hget(KEYS.counters, f"done:{LANE}") or 0) == 2

    async with (
        Producer.connect(valkey_url, budget=5) as producer,
        Supervisor([working(valkey_url, "worker", loop)]) as running,
    ):
        for text in ("child", "fine"):
            await producer.send(Note(text))
            await eventually(lambda text=text: redis.exists(f"begun:{text}"), timeout=20)
        await eventually(done)
        running.send_signal("worker", signal.SIGTERM)
        assert await running.wait_exit("worker") == 0
