"""Turns of one worker: it drains a queue of jobs without work, or of mails, and says how fast and at what cost.

Shared by measurements that compare two ways to run the same worker. Servers are real and private to the run.
"""

import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from jobs import Job, Mail, handles
from local.installation import InstallationPlan, assemble_installation
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys

ROOT = Path(__file__).resolve().parents[1]
_BATCH = 1000
_LOOK_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
DRAIN = {"MOMENTUS_WORKER__JOBS": "bench.worker_turns", "MOMENTUS_WORKER__JOBS_SLOTS": "100"}
"""Settings of a worker for jobs without work."""


@dataclass(frozen=True)
class Nothing(Job, kind="bench.nothing"):
    """A job without work, so that the engine is all that is measured."""

    number: int


@handles(Nothing)
async def do_nothing(_: Nothing) -> None:
    """Return at once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Figures of one worker's turn: jobs per second, and microseconds of its processor for a job."""

    per_second: float
    processor_us: float


@dataclass(frozen=True, slots=True)
class Site:
    """The servers of a run: a producer, the address of Redis, and a worker's settings for mails."""

    producer: Producer
    url: str
    mail: Mapping[str, str]


@asynccontextmanager
async def measuring_site() -> AsyncIterator[Site]:
    """Start Valkey and the mail sink."""
    scratch = _scratch()
    system = assemble_installation(
        InstallationPlan(data_dir=scratch, postgres_dsn="postgresql://127.0.0.1:1/none")
    )
    servers = [one for one in system.processes if one.name in {"valkey", "sink"}]
    worker = next(one for one in system.processes if one.name == "worker")
    mail = {name: value for name, value in worker.environment.items() if name.startswith("MOMENTUS_MAIL")}
    async with Supervisor(servers, scratch=scratch), Producer.connect(system.redis_url, budget=5) as producer:
        yield Site(producer, system.redis_url, mail)


def _scratch() -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o711)  # a server that runs as another user must get in
    return scratch


async def take_turn(
    site: Site, count: int, settings: Mapping[str, str], words: Sequence[str], *, root: Path = ROOT
) -> Turn:
    """Queue jobs and let one worker drain them.

    Args:
        words: the worker's command.
        root: the checkout that it runs from.
    """
    lane = "jobs" if "MOMENTUS_WORKER__JOBS" in settings else "mail.normal"
    await _enqueue(site.producer, count, lane)
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=root,
        env={"MOMENTUS_REDIS_URL": site.url, "MOMENTUS_LOG_LEVEL": "error", "PYTHONPATH": str(root), **settings},
    )
    try:
        async with Redis.from_url(site.url) as redis:
            return await _watch(redis, lane, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _enqueue(producer: Producer, count: int, lane: str) -> None:
    values = {"task": "Cierre mensual", "due": "2026-11-30"}
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        if lane == "jobs":
            await producer.send_many([Nothing(number) for number in numbers])
        else:
            await producer.send_many(
                [Mail(to=f"u{number}@example.com", template="task_assigned", values=values) for number in numbers]
            )


async def _watch(redis: Redis, lane: str, pid: int) -> Turn:
    """Measure from the first outcome that is seen until all jobs are done."""
    before = await _waiting(redis, lane)
    while (first := await _waiting(redis, lane)) == before:  # noqa: ASYNC110  the event is in another process
        await asyncio.sleep(_LOOK_S / 10)
    began, spent = time.perf_counter(), _processor_s(pid)
    while await _waiting(redis, lane):  # noqa: ASYNC110  as above
        await asyncio.sleep(_LOOK_S)
    took = time.perf_counter() - began
    return Turn(first / took, (_processor_s(pid) - spent) * 1e6 / first)


async def _waiting(redis: Redis, lane: str) -> int:
    return int(await redis.zcard(LaneKeys(lane).queue))


def _processor_s(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def spread(values: Sequence[float]) -> str:
    """Return median, smallest and largest value."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
