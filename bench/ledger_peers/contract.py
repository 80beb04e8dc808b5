"""What each library's script does: ``python -m bench.ledger_peers.NAME.measure DSN REDIS PART COUNT``.

It installs its tables, prepares, and prints two numbers of COUNT jobs: seconds by the clock, and of its processor.

    writers    16 connections, each with its own transactions of one job, on the caller's connection
    bulk       all in one transaction, by the library's own call for many, a thousand at a time
    jobs       they are committed before; from the start of a worker with 100 slots, in this process, until all are
               carried out and recorded. They do nothing

Payloads have about 1 KiB. Nothing here imports our own code, since it runs in each library's environment.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import uvloop

WRITERS = 16
SLOTS = 100
TOGETHER = 1000
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


def in_parts(count: int) -> list[int]:
    """Divide a number into parts of a thousand."""
    return [min(TOGETHER, count - at) for at in range(0, count, TOGETHER)]


def tell(parts: Mapping[str, Part]) -> None:
    """Carry out the part that the command line names, and print what it took."""
    dsn, url, part, count = sys.argv[1:]
    print(*uvloop.run(parts[part](dsn, url, int(count))))  # type: ignore[arg-type]  # each is a coroutine
