"""The reader and other ways to hand out a document, side by side on one private server.

Run: ./run bench reader [--seconds 5] [--rounds 3] [--only "webdis,momentus, open"] [--sizes 4,40]
                        [--requests distinct,fixed] [--sessions 5000] [--former DIRECTORY] [--memory]

Every server is one process (webdis: one thread a core) beside the same Valkey, and is asked by wrk for 700
documents, at 50 connections, then at one, in two ways:

    distinct  as many browsers ask: each its own session, cookies, user agent, order of fields and Accept-Encoding,
              a third with an ETag that holds and a third with an old one; hardly any two are the same bytes
    fixed     the same 700 requests again and again, all of which our reader has parsed before

Ours checks the session, judges the age and writes every header, and so does Node with our duty; the others send
what is stored. Processor time is that of the server's process with its children, at 50 connections. Servers are
started afresh for each measurement; each round takes every one once. `--former` adds the reader of another
checkout of this repository next to ours. `--memory` instead sends our reader a million distinct requests, with its
garbage collector off, and tells what it holds. A program that is not on this machine is named with the reason.
Needs wrk. Progress goes to stderr.
"""

import argparse
import asyncio
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import orjson
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from bench.queue_peers.install import NotInstalled
from bench.reader_peers.load import DISTINCT, FIXED, Answered, Load, Overloaded, ask, resident_mib
from bench.reader_peers.peers import OURS_BY_NAME, PEERS, Making, Start, ours, versions
from local.embedded.ports import free_port
from local.embedded.valkey import Valkey
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from reports.compress import Compressor
from sessions import Sessions

DOCUMENTS = 700
CONNECTIONS = 50
_ANSWER_LOOK = 0.02
_WARMING_REQUESTS, _WARMING_TURNS = 10_000, 5
_TWO_DIGITS_BELOW = 1000
_STEPS = (100_000, 500_000, 1_000_000)
_COLLECTOR_OFF = "import gc, runpy; gc.disable(); runpy.run_module('reader', run_name='__main__')"

Figures = dict[str, float]
Rows = Mapping[str, list[Figures] | str]
"""Figures of each round, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The private server, what is stored in it, and how long each is asked."""

    redis_url: str
    scratch: Path
    tokens: Sequence[str]
    kib: int
    seconds: int


async def main() -> None:
    """Measure and print."""
    asked = _arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("bench reader needs wrk on this machine (Debian: apt install wrk)")
    print(f"- {machine()}\n- {versions()}")
    print(f"- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians (smallest-largest)")
    makings = _makings(asked.only, asked.former)
    for kib in asked.sizes:
        async with _filled(kib, asked.sessions, asked.seconds) as bench:
            if asked.memory:
                await _tell_memory(bench)
                continue
            for kind in asked.requests:
                print("\n".join(_table(await _measure_all(makings, bench, kind, asked.rounds), kib, kind)))
    print(f"\nLoad average after: {os.getloadavg()[0]:.2f}")


def _arguments() -> argparse.Namespace:
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--seconds", type=int, default=5)
    it.add_argument("--rounds", type=int, default=3)
    it.add_argument("--only", action="append", default=[])
    it.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")], default=[4, 40])
    it.add_argument("--requests", type=lambda text: text.split(","), default=[DISTINCT, FIXED])
    it.add_argument("--sessions", type=int, default=5000)
    it.add_argument("--former", type=Path)
    it.add_argument("--memory", action="store_true")
    return it.parse_args()


def _makings(only: Sequence[str], former: Path | None) -> dict[str, Making]:
    """Return how each server is started; the reader of the other checkout stands next to ours."""
    found: dict[str, Making] = {}
    for name, making in PEERS.items():
        if only and name not in only:
            continue
        found[name] = making
        if former is not None and name in OURS_BY_NAME:
            found[f"{name}, of {former.name}"] = ours(OURS_BY_NAME[name], former.resolve())
    return found


@asynccontextmanager
async def _filled(kib: int, sessions: int, seconds: int) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([valkey.process()]):
            tokens = await _fill(valkey.url, kib, sessions)
            yield Bench(redis_url=valkey.url, scratch=Path(scratch), tokens=tokens, kib=kib, seconds=seconds)


async def _measure_all(makings: Mapping[str, Making], bench: Bench, kind: str, rounds: int) -> Rows:
    rows: dict[str, list[Figures] | str] = {name: [] for name in makings}
    for _ in range(rounds):
        for name, making in makings.items():
            row = rows[name]
            if isinstance(row, str):
                continue
            try:
                row.append(await _measure(name, making, bench, kind))
            except Overloaded as reason:
                sys.stderr.write(f"{name}: this round is left out: {reason}\n")
            except NotInstalled as reason:
                rows[name] = str(reason)
            sys.stderr.write(f"{bench.kib} KiB, {kind}, {name}: {rows[name][-1] if row else rows[name]}\n")
    return rows


async def _fill(url: str, kib: int, sessions: int) -> list[str]:
    """Store documents the way the worker does, and plainly for the others; tokens of so many managers."""
    dice, now, compressor = _dice(), time.time_ns() // 1000, Compressor()
    fields: dict[str, bytes] = {}
    async with Redis.from_url(url) as redis:
        for scope in range(1, DOCUMENTS + 1):
            body = _document(scope, kib, dice)
            head = {"etag": f"{scope:016x}", "path": [1, scope], "as_of_us": now}
            variants = compressor.variants(body)
            fields |= {str(scope): body, f"head:{scope}": orjson.dumps(head)}
            fields |= {f"{scope}:zstd": variants.zstd, f"{scope}:gzip": variants.gzip}
            await redis.set(str(scope), body)
        meta = {
            "gen": 1,
            "verified_us": now,
            "valid_until_us": None,
            "cost_ms": 20,
            "soft_ms": 10**8,
            "hard_ms": 10**9,
        }
        fields["_meta"] = orjson.dumps(meta)
        await redis.hset("momentus:{reports}:snapshot:default:bench", mapping=fields)
    store = Sessions.connect(url, deadline=timedelta(seconds=5))
    names = [f"manager-{number}" for number in range(sessions)]
    tokens = [(await store.create(name, {"roots": [1], "name": name}))[0] for name in names]
    await store.close()
    return tokens


def _dice() -> random.Random:
    return random.Random(1)  # noqa: S311  invented figures


def _document(scope: int, kib: int, dice: random.Random) -> bytes:
    """JSON of about that size, as hard to compress as figures are."""
    data = {f"measure_{number}": dice.randrange(10**9) for number in range(kib * 1024 // 24)}
    return orjson.dumps({"report": "bench", "scope": scope, "data": data})


async def _measure(name: str, making: Making, bench: Bench, kind: str) -> Figures:
    folder = Path(tempfile.mkdtemp(dir=bench.scratch))
    port = free_port()
    start = making(bench.redis_url, port, folder)
    if "nginx" in name:
        _write_files(folder / "documents", bench.kib)
    load = _load(start, port, folder, bench, kind)
    async with running(start, port, folder) as pid, Redis.from_url(bench.redis_url) as redis:
        await _warm_up(load, pid, redis)
        many = await ask(load, pid=pid, redis=redis, connections=CONNECTIONS, seconds=bench.seconds, seed=2)
        one = await ask(load, pid=pid, redis=redis, connections=1, seconds=max(1, bench.seconds // 2), seed=3)
    return _figures(many, one)


async def _warm_up(load: Load, pid: int, redis: Redis) -> None:
    """Ask until most sessions and documents have been asked for, or for as long as a measurement may take."""
    answered = 0
    for turn in range(_WARMING_TURNS):
        if answered < _WARMING_REQUESTS:
            seed = 1 + turn * 1000
            answered += (
                await ask(load, pid=pid, redis=redis, connections=CONNECTIONS, seconds=1, seed=seed)
            ).requests


def _load(start: Start, port: int, folder: Path, bench: Bench, kind: str) -> Load:
    return Load(
        url=f"http://127.0.0.1:{port}",
        path=start.path.replace("{}", "%d"),
        tokens=bench.tokens,
        kind=kind,
        session=start.session,
        folder=folder,
    )


def _figures(many: Answered, one: Answered) -> Figures:
    return {
        "refused %": many.refused_percent,
        "requests/s": many.a_second,
        "CPU µs": many.server_us,
        "Redis µs": many.redis_us,
        "p50 ms": many.p50,
        "p99 ms": many.p99,
        "alone p50 ms": one.p50,
        "alone p99 ms": one.p99,
    }


async def _tell_memory(bench: Bench) -> None:
    """Print the memory of our reader after each number of distinct requests, with its garbage collector off."""
    folder, port = Path(tempfile.mkdtemp(dir=bench.scratch)), free_port()
    start = ours({})(bench.redis_url, port, folder)
    start = replace(start, argv=(sys.executable, "-c", _COLLECTOR_OFF))
    load = _load(start, port, folder, bench, DISTINCT)
    sent = 0
    async with running(start, port, folder) as pid, Redis.from_url(bench.redis_url) as redis:
        print(
            f"\n| distinct requests, {bench.kib} KiB | resident MiB |\n|---|---|\n| 0 | {resident_mib(pid):.1f} |"
        )
        for step in _STEPS:
            while sent < step:
                answered = await ask(load, pid=pid, redis=redis, connections=CONNECTIONS, seconds=1, seed=sent)
                sent += answered.requests
            print(f"| {sent:,} | {resident_mib(pid):.1f} |")


def _write_files(folder: Path, kib: int) -> None:
    folder.mkdir()
    dice = _dice()
    for scope in range(1, DOCUMENTS + 1):
        (folder / str(scope)).write_bytes(_document(scope, kib, dice))


@asynccontextmanager
async def running(start: Start, port: int, folder: Path) -> AsyncIterator[int]:
    """Run a server until it is left; its pid. It listens when this begins."""
    pids: list[int] = []

    async def note(pid: int) -> bool:
        pids.append(pid)
        return True

    process = Process(
        name="peer",
        argv=list(start.argv),
        environment=dict(start.environment),
        cwd=folder,
        restart=RestartPolicy.NEVER,
        ready=note,
        drain=timedelta(seconds=3),
    )
    async with Supervisor([process]):
        async with asyncio.timeout(30):
            while not _answers(port):  # noqa: ASYNC110  the event is in another process
                await asyncio.sleep(_ANSWER_LOOK)
        yield pids[-1]


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _table(rows: Rows, kib: int, kind: str) -> Iterator[str]:
    columns = ("refused %", "requests/s", "CPU µs", "Redis µs", "p50 ms", "p99 ms", "alone p50 ms", "alone p99 ms")
    yield f"\n### {kib} KiB, {kind} requests\n"
    yield "| server | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for name, row in rows.items():
        if isinstance(row, str) or not row:
            yield f"| {name} | {row or 'refused too much in every round'} |" + " |" * (len(columns) - 1)
        else:
            yield f"| {name} | " + " | ".join(_spread([one[column] for one in row]) for column in columns) + " |"


def _spread(values: Sequence[float]) -> str:
    """Return the median, and the smallest and the largest."""
    digits = 2 if max(values) < _TWO_DIGITS_BELOW else 0
    middle, smallest, largest = [f"{one:,.{digits}f}" for one in (median(values), min(values), max(values))]
    return middle if len(values) == 1 else f"{middle} ({smallest}-{largest})"


if __name__ == "__main__":
    asyncio.run(main())
