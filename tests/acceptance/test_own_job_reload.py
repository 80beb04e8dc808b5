"""`./run worker --reload`: a developer changes a job module, and the worker runs the new code."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobs import NamedJob
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from tests.support import eventually
from worker.own_jobs.reload import changed_file, file_times, watched_places

MODULE = """
from dataclasses import dataclass
from momentus_client.jobs import Job, handles

@dataclass
class Greeting(Job, kind="greeting.write"): ...

@handles(Greeting)
def write(greeting): return {answer!r}
"""


class Reloading:
    """A worker with --reload, and the lines that it has said."""

    def __init__(self, running: Supervisor, lines: list[str]) -> None:
        self.running, self.lines = running, lines

    async def said(self, words: str, times: int = 1) -> None:
        await eventually(lambda: sum(words in line for line in self.lines) >= times, timeout=60)


@asynccontextmanager
async def reloading(url: str, folder: Path) -> AsyncIterator[Reloading]:
    lines: list[str] = []
    process = Process(
        name="worker",
        argv=[sys.executable, "-m", "worker", "--reload"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_WORKER__JOBS": "greetings",
            "MOMENTUS_WORKER__JOBS_FOLDER": str(folder),
        },
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=30),
    )
    async with Supervisor([process], log=lambda _, line: lines.append(line)) as running:
        yield Reloading(running, lines)


async def answer(producer: Producer) -> object:
    receipt = await producer.send(NamedJob("greeting.write"))

    async def value() -> object:
        return (await producer.result(receipt.id)).value

    return await eventually(value, timeout=60)


async def test_a_changed_module_runs_and_a_broken_one_tells_its_fault_and_waits_for_the_next_change(
    valkey_url: str, redis: Redis, producer: Producer, tmp_path: Path
) -> None:
    del redis
    module = tmp_path / "greetings.py"
    module.write_text(MODULE.format(answer="one"), encoding="utf-8")
    async with reloading(valkey_url, tmp_path) as worker:
        assert await answer(producer) == "one"
        module.write_text("1 / 0", encoding="utf-8")
        await worker.said("ZeroDivisionError: division by zero")
        await worker.said("exited with code 2; waiting for a change")
        module.write_text(MODULE.format(answer="two"), encoding="utf-8")
        assert await answer(producer) == "two"
        worker.running.send_signal("worker", signal.SIGINT)
        assert await worker.running.wait_exit("worker") == 0
    assert not [line for line in worker.lines if "Traceback" in line]


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
        return path

    return make


def test_new_changed_and_removed_python_files_count_and_others_do_not(
    tmp_path: Path, files: Callable[[str], Path]
) -> None:
    shop = files("shop/jobs.py")
    before = file_times([tmp_path])
    for other in ("shop/notes.txt", "shop/__pycache__/jobs.py", ".git/hook.py", "env/pyvenv.cfg", "env/lib/x.py"):
        files(other)
    assert changed_file(before, file_times([tmp_path])) is None
    new = files("shop/more.py")
    assert changed_file(before, file_times([tmp_path])) == new
    new.unlink()
    os.utime(shop, ns=(0, 0))
    assert changed_file(before, file_times([tmp_path])) == shop
    shop.unlink()
    assert changed_file(before, file_times([tmp_path])) == shop


def test_the_packages_of_the_modules_are_watched_unless_a_folder_is_named(tmp_path: Path) -> None:
    assert watched_places(["jobs.mail", "jobs", "background"], None) == [
        Path("background.py").resolve(),
        Path("jobs").resolve(),
    ]
    assert watched_places(["jobs"], tmp_path) == [tmp_path]
