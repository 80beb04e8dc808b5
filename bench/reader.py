"""The reader and other ways to hand out a document, side by side on one private server.

Run: ./run bench reader [--seconds 5] [--rounds 3] [--only "webdis,momentus, open"] [--sizes 4,40]

Every server is one process (webdis: one thread a core) beside the same Valkey, and is asked by wrk for 700
documents in turn, at 50 connections, then at one. Ours checks the session, judges the age and writes every header;
the others send what is stored. Servers are started afresh for each measurement; each round takes every one once.
A program that is not on this machine is named with the reason. Needs wrk. Progress goes to stderr.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

import orjson
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from bench.queue_peers.install import NotInstalled
from bench.reader_peers.peers import PEERS, Start
from local.embedded.ports import free_port
from local.embedded.valkey import Valkey
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from sessions import Sessions

DOCUMENTS = 700
CONNECTIONS = 50
_TOKENS = 50
_WRK = Path(__file__).parent / "reader_peers" / "requests.lua"
_ANSWER_LOOK = 0.02
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}

Figures = dict[str, float]
Rows = Mapping[str, list[Figures] | str]
"""Figures of each round, or why there are none."""


async def main() -> None:
    """Measure and print."""
    asked = _arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("bench reader needs wrk on this machine (Debian: apt install wrk)")
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians")
    names = [name for name in PEERS if not asked.only or name in asked.only]
    for kib in asked.sizes:
        rows = await _measure_all(names, kib, asked.rounds, asked.seconds)
        print("\n".join(_table(rows, kib)))


def _arguments() -> argparse.Namespace:
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--seconds", type=int, default=5)
    it.add_argument("--rounds", type=int, default=3)
    it.add_argument("--only", action="append", default=[])
    it.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")], default=[4, 40])
    return it.parse_args()


async def _measure_all(
    names: Sequence[str], kib: int, rounds: int, seconds: int
) -> Mapping[str, list[Figures] | str]:
    rows: dict[str, list[Figures] | str] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([valkey.process()]):
            tokens = await _fill(valkey.url, kib)
            for _ in range(rounds):
                for name in names:
                    row = rows[name]
                    if isinstance(row, str):
                        continue
                    try:
                        row.append(await _measure(name, valkey.url, Path(scratch), tokens, kib, seconds))
                    except NotInstalled as reason:
                        rows[name] = str(reason)
                    sys.stderr.write(f"{kib} KiB, {name}: {rows[name][-1] if row else rows[name]}\n")
    return rows


async def _fill(url: str, kib: int) -> list[str]:
    """Store documents the way the worker does, and plainly for the others; tokens of fifty managers."""
    dice, now = _dice(), time.time_ns() // 1000
    fields: dict[str, bytes] = {}
    async with Redis.from_url(url) as redis:
        for scope in range(1, DOCUMENTS + 1):
            body = _document(scope, kib, dice)
            head = {"etag": f"{scope:016x}", "path": [1, scope], "as_of_us": now}
            fields |= {str(scope): body, f"head:{scope}": orjson.dumps(head)}
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
    sessions = Sessions.connect(url, deadline=timedelta(seconds=5))
    tokens = [(await sessions.create(f"manager-{number}", {"roots": [1]}))[0] for number in range(_TOKENS)]
    await sessions.close()
    return tokens


def _dice() -> random.Random:
    return random.Random(1)  # noqa: S311  invented figures


def _document(scope: int, kib: int, dice: random.Random) -> bytes:
    """JSON of about that size, as hard to compress as figures are."""
    data = {f"measure_{number}": dice.randrange(10**9) for number in range(kib * 1024 // 24)}
    return orjson.dumps({"report": "bench", "scope": scope, "data": data})


async def _measure(name: str, url: str, scratch: Path, tokens: list[str], kib: int, seconds: int) -> Figures:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    port = free_port()
    start = PEERS[name](url, port, folder)
    if "nginx" in name:
        _write_files(folder / "documents", kib)
    async with running(start, port, folder):
        many = await _wrk(start, port, folder, tokens, connections=CONNECTIONS, seconds=seconds)
        one = await _wrk(start, port, folder, tokens, connections=1, seconds=max(1, seconds // 2))
    return {
        "requests/s": many["requests/s"],
        "p50 ms": many["p50"],
        "p99 ms": many["p99"],
        "alone p50 ms": one["p50"],
        "alone p99 ms": one["p99"],
    }


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


async def _wrk(
    start: Start, port: int, folder: Path, tokens: list[str], *, connections: int, seconds: int
) -> Figures:
    """What wrk says, after a second of warming up.

    Raises:
        SystemExit: not every answer was a 200: the figure would be one of refusals.
    """
    (folder / "tokens").write_text("\n".join(tokens if start.session else []), "utf-8")
    environment = {
        **os.environ,
        "BENCH_PATH": start.path.replace("{}", "%d"),
        "BENCH_TOKENS": str(folder / "tokens"),
    }
    said = ""
    for duration in (1, seconds):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--latency", "-s", str(_WRK)]
        running = await asyncio.create_subprocess_exec(
            *command, f"http://127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE, env=environment
        )
        said = (await running.communicate())[0].decode()
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"not every answer was good:\n{said}")
    return {
        "requests/s": float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]),
        "p50": _milliseconds(said, "50%"),
        "p99": _milliseconds(said, "99%"),
    }


def _milliseconds(said: str, share: str) -> float:
    number, unit = re.findall(rf"{share}\s+([\d.]+)([a-z]+)", said)[0]
    return float(number) * _UNITS[unit]


def _table(rows: Rows, kib: int) -> Iterator[str]:
    columns = ("requests/s", "p50 ms", "p99 ms", "alone p50 ms", "alone p99 ms")
    yield f"\n### {kib} KiB\n"
    yield "| server | " + " | ".join(columns) + " | against webdis |"
    yield "|---|" + "---|" * (len(columns) + 1)
    webdis = rows.get("webdis", "")
    base = median(one["requests/s"] for one in webdis) if webdis and not isinstance(webdis, str) else None
    for name, row in rows.items():
        if isinstance(row, str):
            yield f"| {name} | {row} |" + " |" * len(columns)
            continue
        medians = {column: median(one[column] for one in row) for column in columns}
        shown = [f"{medians['requests/s']:,.0f}", *(f"{medians[column]:.2f}" for column in columns[1:])]
        ratio = f"{medians['requests/s'] / base:.2f} x" if base else ""
        yield f"| {name} | " + " | ".join(shown) + f" | {ratio} |"


if __name__ == "__main__":
    asyncio.run(main())
