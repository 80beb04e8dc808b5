"""A worker for a few own kinds in this process, with its threads and children."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobs.handler import MARK, JobHandler
from jobs.lanes import OWN
from tests.notes import running
from worker.engine import LaneSlots, Worker
from worker.own_jobs.duties import functions_of
from worker.own_jobs.load import OwnJobs, load_jobs
from worker.own_jobs.processes import Processes
from worker.own_jobs.threads import Threads

FOLDER = Path(__file__).parent / "own_jobs"


@dataclass(frozen=True, slots=True)
class Own:
    """A worker at work, and what carries its jobs out."""

    worker: Worker
    threads: Threads
    processes: Processes


@asynccontextmanager
async def working(
    url: str,
    own: OwnJobs,
    *,
    slots: int = 4,
    children: int = 2,
    jobs_each: int = 0,
    modules: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[Own]:
    """The worker at work in this loop; afterwards none of its children runs."""
    threads = Threads()
    arguments = [",".join(modules or own.modules), "json", "warning"]
    processes = Processes(children, arguments, FOLDER, jobs_each=jobs_each)
    worker = Worker(
        functions_of(own, threads, processes),
        redis_url=url,
        policies={kind: one.job.policy for kind, one in own.handlers.items()},
        **{
            "lanes": [LaneSlots(OWN, slots)],
            "handle_signals": False,
            "renew_every": timedelta(milliseconds=50),
            **options,
        },
    )
    try:
        async with running(worker):
            yield Own(worker, threads, processes)
    finally:
        threads.close()
        await processes.close()


def of_functions(*functions: Callable[..., Any]) -> OwnJobs:
    """Marked functions, as if a module had them."""
    handlers: list[JobHandler] = [getattr(one, MARK) for one in functions]
    return OwnJobs({one.job.kind: one for one in handlers})


def of_module(name: str) -> OwnJobs:
    """A module of `tests/own_jobs`."""
    return load_jobs(name, FOLDER)
