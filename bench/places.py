"""What the place costs in which a job's function runs: event loop, thread, child process; without Redis.

Run: ./run bench places [--jobs 3000]

One job after the other, each to its result, through the code that a worker uses; the function only writes eight
bytes. CPU is that of worker and child together.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import uvloop

os.environ.setdefault("BENCH_STAMPS", os.path.join(tempfile.mkdtemp(), "stamps"))  # noqa: PTH118  before the imports

from bench.queue_peers.contract import mail
from local.demo.figures import percentile
from worker.own_jobs.attempt import in_loop
from worker.own_jobs.load import load_jobs
from worker.own_jobs.processes import Processes
from worker.own_jobs.threads import Threads

_MODULE = "bench.queue_peers.momentus_own.jobs"
_WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _context() -> dict[Any, Any]:
    attempt = SimpleNamespace(
        progress=None, begin_effect=None, stopped=None, left_behind=False, hold_time=int, begin_time=int
    )
    facts = {"job_id": "{jobs}one", "job_try": 1, "lane": "jobs", "unknown_effect": 0}
    return {"attempt": attempt, "enqueue_time": datetime.now(UTC), **facts}


def _cpu_seconds() -> float:
    used = [resource.getrusage(one) for one in _WHOSE]
    return sum(one.ru_utime + one.ru_stime for one in used)


async def _measure(place: str, jobs: int) -> tuple[list[float], float]:
    """Return the milliseconds of each job, and the CPU seconds of all, a child's start included."""
    began = _cpu_seconds()
    threads, processes = Threads(), Processes(1, [_MODULE, "json", "warning"])
    places = {"loop": in_loop, "thread": threads.function, "process": processes.function}
    call: Callable[..., Awaitable[object]] = places[place](load_jobs(_MODULE).handlers[f"bench.{place}"])
    context, took = _context(), []
    await call(context, **mail(0))  # starts the thread or child
    for number in range(jobs):
        since = time.perf_counter()
        await call(context, **mail(number))
        took.append((time.perf_counter() - since) * 1000)
    threads.close()
    await processes.close()
    return took, _cpu_seconds() - began


async def _main(jobs: int) -> None:
    print(f"{jobs:,} jobs one after the other; load average before the run: {os.getloadavg()[0]:.2f}\n")
    print("| runs in | p10 ms | p50 ms | p90 ms | CPU ms a job |\n| --- | --- | --- | --- | --- |")
    for place in ("loop", "thread", "process"):
        _, start = await _measure(place, 0)
        took, cpu = await _measure(place, jobs)
        parts = " | ".join(f"{percentile(took, part):.3f}" for part in (0.1, 0.5, 0.9))
        print(f"| {place} | {parts} | {(cpu - start) / jobs * 1000:.3f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="./run bench places", description=__doc__)
    parser.add_argument("--jobs", type=int, default=3000)
    uvloop.run(_main(parser.parse_args().jobs))
