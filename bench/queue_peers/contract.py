"""What the two scripts of a peer and the runner agree on, whatever the library.

The runner starts `worker` and `producer` as processes of their own, with these in the environment:

    BENCH_REDIS_URL     the server, emptied before
    BENCH_STAMPS        the worker's file: 8 octets for each job that starts, CLOCK_MONOTONIC in nanoseconds
    BENCH_JOB_SECONDS   how long a job takes after it has written its 8 octets; 0 but for the crash measurement

A worker gets its peer's arguments, and calls `announce` when its libraries are loaded: the file is there then.
A producer gets MODE COUNT OUT REST, then its peer's arguments, and leaves 8-octet nanoseconds in OUT:

    one     COUNT calls, one after the other: how long each took
    bulk    COUNT jobs by the library's fastest way: one figure, the whole
    idle    COUNT calls, each to an idle queue, after a pause of 10 ms and up to REST seconds of chance: when each
            was about to be made. A pause begins when the job before has started; with REST as long as the
            library's own polling, calls fall anywhere between two polls. One more call goes before them, to
            wait for the worker's start; it is not in the figures.

All octets are little-endian and signed. It refuses to know any library; BullMQ's scripts say the same in
JavaScript.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

Mail = dict[str, str]
One = Callable[[Mail], Awaitable[object]]
Many = Callable[[Sequence[Mail]], Awaitable[object]]

URL = os.environ.get("BENCH_REDIS_URL", "")
CONCURRENCY = 100
WIDTH = 8
_JOB_SECONDS = float(os.environ.get("BENCH_JOB_SECONDS", "0"))
_LOOK = 0.002
_SHORTEST_REST = 0.01
_CHUNK = 20_000


def mail(number: int) -> Mail:
    """The job's content, about 330 octets of JSON; no name in it is an option of any library's call."""
    return {
        "to": f"empleado{number:07d}@example.com",
        "subject": "Tarea asignada: cierre mensual de noviembre",
        "template": "task_assigned",
        "language": "es",
        "message_id": f"<{number:07d}.019a0b1c5d2e7f30@mail.example.com>",
        "task": "Cierre mensual de noviembre, sucursal Norte",
        "due": "30 de noviembre",
        "link": f"https://app.example.com/empresa/tareas/{number:07d}",
    }


def announce() -> None:
    """Say that the worker's libraries are loaded."""
    _stamps()


def job(**_mail: object) -> None:
    """The job, for workers with threads or processes."""
    _stamp()
    if _JOB_SECONDS:
        time.sleep(_JOB_SECONDS)


async def async_job(**_mail: object) -> None:
    """The job, for workers with an event loop."""
    _stamp()
    if _JOB_SECONDS:
        await asyncio.sleep(_JOB_SECONDS)


def peer_arguments() -> list[str]:
    """A producer's arguments after the four of everybody."""
    return sys.argv[5:]


async def produce(one: One, many: Many) -> None:
    """Do what the arguments ask for and leave the figures.

    Args:
        one: hands over one job.
        many: hands over all, in the library's fastest way.
    """
    mode, count, out, rest = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    match mode:
        case "one":
            figures = await _one_by_one(one, count)
        case "bulk":
            figures = [await _bulk(many, count)]
        case "idle":
            figures = await _idle(one, count, rest)
        case _:
            raise ValueError(f"mode: {mode!r} is not one of one, bulk, idle")
    _leave(out, figures)


def _leave(out: Path, figures: Sequence[int]) -> None:
    out.write_bytes(b"".join(figure.to_bytes(WIDTH, "little", signed=True) for figure in figures))


async def _one_by_one(one: One, count: int) -> list[int]:
    await one(mail(0))  # connects, and loads what the library loads once
    took = []
    for number in range(1, count + 1):
        content = mail(number)
        began = time.monotonic_ns()
        await one(content)
        took.append(time.monotonic_ns() - began)
    return took


async def _bulk(many: Many, count: int) -> int:
    """In chunks, so that a million of them need not be in memory at once."""
    took = 0
    for first in range(0, count, _CHUNK):
        mails = [mail(number) for number in range(first, min(first + _CHUNK, count))]
        began = time.monotonic_ns()
        await many(mails)
        took += time.monotonic_ns() - began
    return took


async def _idle(one: One, count: int, rest: float) -> list[int]:
    sent = []
    for number in range(count + 1):
        await asyncio.sleep(random.uniform(_SHORTEST_REST, _SHORTEST_REST + rest))  # noqa: S311  not a secret
        sent.append(time.monotonic_ns())
        await one(mail(number))
        while _started() <= number:  # noqa: ASYNC110  the event is in another process
            await asyncio.sleep(_LOOK)
    return sent[1:]


def in_chunks(mails: Sequence[Mail], size: int) -> Iterator[Sequence[Mail]]:
    """The mails, so many at a time."""
    return (mails[first : first + size] for first in range(0, len(mails), size))


def together(one: One) -> Many:
    """The fastest way of an asynchronous library without a bulk call: a hundred calls at a time."""

    async def many(mails: Sequence[Mail]) -> None:
        for chunk in in_chunks(mails, CONCURRENCY):
            await asyncio.gather(*map(one, chunk))

    return many


@cache
def _stamps() -> int:
    return os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _stamp() -> None:
    os.write(_stamps(), time.monotonic_ns().to_bytes(WIDTH, "little", signed=True))


def _started() -> int:
    try:
        return Path(os.environ["BENCH_STAMPS"]).stat().st_size // WIDTH
    except FileNotFoundError:
        return 0
