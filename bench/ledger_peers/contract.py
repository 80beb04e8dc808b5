"""What each library's script does: ``python -m bench.ledger_peers.NAME.measure DSN REDIS PART COUNT``.

It installs its tables, prepares, and prints two numbers of COUNT jobs: seconds by the clock, and of its processor.

    writers    16 connections, each with its own transactions of one job, on the caller's connection
    bulk       all in one transaction, by the library's own call for many, a thousand at a time
    jobs       they are committed before; from the start of a worker with 100 slots, in this process, until all are
               carried out and recorded. They do nothing
    killed     from kill -9 of a worker on which all jobs hang until another, which was idle, has begun the last of
               them; both are processes of the script with the part `hang` or `take`, where COUNT is ignored

Payloads have about 1 KiB. Nothing here imports our own code, since it runs in each library's environment.
"""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import uvloop

WRITERS = 16
SLOTS = 100
TOGETHER = 1000
_SETTLED_SECONDS = 3.0
"""The other worker has started by then and is idle."""
MAIL = {"to": "ana@example.com", "subject": "Tarea asignada", "text": "Ha recibido una tarea nueva. " * 29}

Took = tuple[float, float]
"""Seconds by the clock, and of this process's processor."""
Part = Callable[[str, str, int], Awaitable[Took]]


async def write_together(
    enqueue: Callable[[Any], Awaitable[object]], connections: Sequence[Any], count: int
) -> Took:
    """Enqueue jobs, each in its own transaction, on all connections at once; what it took."""

    async def write(connection: Any, share: int) -> None:  # noqa: ANN401  of any driver
        for _ in range(share):
            async with connection.transaction():
                await enqueue(connection)

    await asyncio.gather(*(write(one, 1) for one in connections))  # statements are prepared once
    return await timed(asyncio.gather(*(write(one, count // len(connections)) for one in connections)))


async def timed(work: Awaitable[object]) -> Took:
    """Do some work; what it took."""
    began, processor = time.perf_counter(), time.process_time()
    await work
    return time.perf_counter() - began, time.process_time() - processor


async def begin_job(*, hangs: bool) -> None:
    """Tell the parent that a job has begun, and let it hang."""
    print("begun", flush=True)
    if hangs:
        await asyncio.Event().wait()


async def rerun(dsn: str, url: str, enqueue: Callable[[int], Awaitable[object]], count: int) -> Took:
    """Enqueue jobs, kill the worker on which they hang, and wait until another has begun them; how long that took.

    Args:
        enqueue: a number of jobs, each of which tells of its begin by :func:`begin_job`.
    """
    first, second = await _worker("hang", dsn, url), None
    try:
        await enqueue(count)
        await _begun(first, count)
        second = await _worker("take", dsn, url)
        await asyncio.sleep(_SETTLED_SECONDS)
        first.kill()
        return await timed(_begun(second, count))
    finally:
        for one in (first, second):
            if one is not None and one.returncode is None:
                one.kill()
                await one.wait()


async def _worker(part: str, dsn: str, url: str) -> Process:
    module = sys.modules["__main__"].__spec__
    if module is None:
        raise TypeError("the script is run by its module's name")
    program = [sys.executable, "-P", "-m", module.name, dsn, url, part, "0"]
    return await asyncio.create_subprocess_exec(*program, stdout=PIPE)


async def _begun(worker: Process, count: int) -> None:
    if worker.stdout is None:
        raise TypeError("a pipe was asked for")
    left = count
    while left:
        if not (line := await worker.stdout.readline()):
            raise EOFError("the worker has ended, see above")
        left -= line == b"begun\n"


def in_parts(count: int) -> list[int]:
    """Divide a number into parts of a thousand."""
    return [min(TOGETHER, count - at) for at in range(0, count, TOGETHER)]


def tell(parts: Mapping[str, Part]) -> None:
    """Run the part that the command line names, and print what it cost."""
    dsn, url, part, count = sys.argv[1:]
    print(*uvloop.run(_until_told(parts[part](dsn, url, int(count)))))


async def _until_told(work: Awaitable[Took]) -> Took:
    """Do the work; SIGTERM cancels it, so that what it has started ends with it."""
    working = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    return await working
