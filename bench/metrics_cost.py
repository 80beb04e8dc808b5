"""The cost of counting and of being scraped: the same worker with and without, in turns.

Run: ./run bench metrics_cost [--rounds 5] [--jobs 20000] [--mails 2000]

Everything is real and private to the run: Valkey, the mail sink, one worker process for each turn. `off` is a
worker whose counting does nothing and that serves no page; `on` counts and is scraped each 5 s. Each round
takes both, in changing order. Printed: jobs a second from the first outcome to the last, and the worker's own
processor time for a job, both as ratio of on to off, the median of the rounds with the smallest and the largest;
the time of a scrape.
"""

import sys
from pathlib import Path

# A script's folder comes first on the path, where `queue.py` would hide the standard library's.
if sys.path[0] == str(Path(__file__).parent):
    sys.path.pop(0)

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from jobs import Job, Mail, handles
from local.embedded.ports import free_port
from local.installation import InstallationPlan, assemble_installation
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys

_ROOT = Path(__file__).resolve().parents[1]
_BATCH = 1000
_LOOK_S = 0.02
_SCRAPE_S = 5
_TICKS = os.sysconf("SC_CLK_TCK")
_OFF = """
from metrics.histogram import Histogram
from worker.engine.job_counts import JobCounts
Histogram.observe = lambda *_: None
JobCounts.count = lambda *_: None
import sys
from worker.__main__ import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Nothing(Job, kind="bench.nothing"):
    """A job without work, so that the engine is all that is measured."""

    number: int


@handles(Nothing)
async def do_nothing(_: Nothing) -> None:
    """Return at once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Figures of one worker's turn: jobs a second, and microseconds of its processor for a job."""

    per_second: float
    processor_us: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--mails", type=int, default=2_000)
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o711)  # a server that runs as another user must get in
    asyncio.run(_measure(asked.rounds, asked.jobs, asked.mails, scratch))


async def _measure(rounds: int, jobs: int, mails: int, scratch: Path) -> None:
    plan = InstallationPlan(data_dir=scratch, postgres_dsn="postgresql://127.0.0.1:1/none")
    system = assemble_installation(plan)
    servers = [one for one in system.processes if one.name in {"valkey", "sink"}]
    worker = next(one for one in system.processes if one.name == "worker")
    mail = {name: value for name, value in worker.environment.items() if name.startswith("MOMENTUS_MAIL")}
    scrapes: list[float] = []
    async with Supervisor(servers, scratch=scratch), Producer.connect(system.redis_url, budget=5) as producer:
        for name, count, settings in (
            ("drain", jobs, {"MOMENTUS_WORKER__JOBS": "bench.metrics_cost", "MOMENTUS_WORKER__JOBS_SLOTS": "100"}),
            ("mail", mails, mail),
        ):
            turns = [
                await _round(producer, system.redis_url, count, settings, scrapes, swap=bool(number % 2))
                for number in range(rounds)
            ]
            _print(name, count, turns)
    _print_scrapes(scrapes)


async def _round(
    producer: Producer, url: str, count: int, settings: dict[str, str], scrapes: list[float], *, swap: bool
) -> tuple[Turn, Turn]:
    """Return the turns without and with counting."""
    turns = {}
    for is_on in (True, False) if swap else (False, True):
        turns[is_on] = await _turn(producer, url, count, settings, scrapes if is_on else None)
    return turns[False], turns[True]


async def _turn(
    producer: Producer, url: str, count: int, settings: dict[str, str], scrapes: list[float] | None
) -> Turn:
    lane = "jobs" if "MOMENTUS_WORKER__JOBS" in settings else "mail.normal"
    await _enqueue(producer, count, lane)
    port = free_port()
    own = {"MOMENTUS_METRICS__WORKER": str(port)} if scrapes is not None else {}
    words = ["-m", "worker"] if scrapes is not None else ["-c", _OFF]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        cwd=_ROOT,
        env={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_LOG_LEVEL": "error",
            "PYTHONPATH": str(_ROOT),
            **settings,
            **own,
        },
    )
    scraping = asyncio.create_task(_scrape(port, scrapes if scrapes is not None else []))
    try:
        async with Redis.from_url(url) as redis:
            return await _watch(redis, lane, process.pid)
    finally:
        scraping.cancel()
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


async def _scrape(port: int, took: list[float]) -> None:
    """Scrape each five seconds, as often as it is answered."""
    while True:
        await asyncio.sleep(_SCRAPE_S)
        with suppress(OSError):
            began = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.read()
            writer.close()
            took.append((time.perf_counter() - began) * 1000)


def _print(name: str, count: int, turns: Sequence[tuple[Turn, Turn]]) -> None:
    rate = [on.per_second / off.per_second for off, on in turns]
    processor = [on.processor_us / off.processor_us for off, on in turns]
    off_rate = statistics.median(off.per_second for off, _ in turns)
    off_us = statistics.median(off.processor_us for off, _ in turns)
    print(f"{name}, {count} in each turn, {len(turns)} rounds; {machine()}")
    print(f"  off: {off_rate:,.0f} a second, {off_us:.1f} us of the processor each")
    print(f"  on / off: jobs a second {_spread(rate)}, processor {_spread(processor)}", flush=True)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _print_scrapes(took: Sequence[float]) -> None:
    if took:
        print(f"scrape of a busy worker, ms: {_spread(took)} of {len(took)}")


if __name__ == "__main__":
    main()
