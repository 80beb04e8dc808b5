"""What others notice while a large report is stored: ``./run bench publish [--nodes N ...] [--rounds N]``.

An embedded Valkey with its append-only file on. One process stores sets of a report, as a worker does; another
sends mails and loads a session in turns, every 4 ms, and pings the server every millisecond. Printed for each
number of nodes, as medians of the rounds:

    publish           from a set whose documents all changed to its being visible
    send              median and 99th percentile of ``Producer.send``, quiet and meanwhile, and how many failed
    session           the same of ``Sessions.load``
    silence           the longest time without a reply to a PING
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from jobs import Mail
from local.demo.figures import percentile
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor
from producers import NotEnqueued, Producer
from reports.document import Document, microseconds
from reports.node_ids import NodeId
from reports.store import NewSet, ReportStore
from sessions import Sessions, SessionsUnavailable
from worker.reports.refresh_context import publish_set

_MEASURES = 50
_QUIET_SECONDS = 4.0
_PAUSE = 0.004
_MAIL = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--nodes", type=int, nargs="+", default=[700, 20_000, 50_000])
    it.add_argument("--rounds", type=int, default=3)
    it.add_argument("--neighbour", metavar="URL", help=argparse.SUPPRESS)
    asked = it.parse_args()
    if asked.neighbour:
        await _neighbour(asked.neighbour)
        return
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians\n")
    print("| nodes | publish ms | send p50 / p99 ms | failed | session p50 / p99 ms | failed | silence ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        valkey = Valkey.in_directory(Path(scratch))
        async with Supervisor([valkey.process()]), Redis.from_url(valkey.url, socket_timeout=60) as redis:
            _print("quiet", [(0.0, await _beside(valkey.url, lambda: asyncio.sleep(_QUIET_SECONDS)))])
            for nodes in asked.nodes:
                _print(
                    f"{nodes:,}",
                    await _rounds(ReportStore(redis, tenant="bench"), valkey.url, nodes, asked.rounds),
                )


async def _rounds(store: ReportStore, url: str, nodes: int, rounds: int) -> list[tuple[float, dict[str, Any]]]:
    """Store a first set, then replace it; of each replacement the seconds and what the neighbour noticed."""
    began = datetime.now(UTC)
    found = []
    for number in range(rounds + 1):
        new = _set(nodes, number, began + timedelta(seconds=number))
        seconds = [0.0]

        async def store_it(new: NewSet = new, seconds: list[float] = seconds) -> None:
            start = time.perf_counter()
            facts = await publish_set(store, new)
            seconds[0] = time.perf_counter() - start
            if facts["state"] != "stored":
                raise SystemExit(f"the set was not stored: {facts}")

        if number == 0:
            await store_it()
        else:
            noticed = await _beside(url, store_it)
            found.append((seconds[0], noticed))
    return found


def _set(nodes: int, number: int, at: datetime) -> NewSet:
    generator = random.Random(number)  # noqa: S311  figures, no secrets
    documents: dict[NodeId, Document] = {}
    for scope in range(1, nodes + 1):
        etag = f"{number * 10**6 + scope:016x}"
        data = {f"measure_{place}": generator.randrange(10**6) for place in range(_MEASURES)}
        head = orjson.dumps({"etag": etag, "path": [1, scope], "as_of_us": microseconds(at)})
        documents[scope] = Document(etag, orjson.dumps({"scope": scope, "data": data}), head)
    meta: dict[str, object] = {
        "as_of_us": microseconds(at),
        "verified_us": microseconds(at),
        "valid_until_us": None,
        "cost_ms": 1.0,
        "snapshot": "1:1:",
        "scopes": nodes,
        "soft_ms": 1,
        "hard_ms": 1,
    }
    return NewSet(report=f"of_{nodes}", as_of=at, began=at, documents=documents, meta=meta)


# the other process


async def _beside(url: str, work: Callable[[], Awaitable[object]]) -> dict[str, Any]:
    """Do some work while the neighbour measures; what it noticed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", __file__, "--neighbour", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdin is None or process.stdout is None:
        raise SystemExit("the neighbour process has no pipes")
    await process.stdout.readline()
    await work()
    process.stdin.close()
    noticed: dict[str, Any] = orjson.loads(await process.stdout.read())
    await process.wait()
    return noticed


async def _neighbour(url: str) -> None:
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sessions = Sessions.connect(url)
    async with Producer.connect(url) as producer, Redis.from_url(url) as redis:
        token, _ = await sessions.create("ana", {})
        await producer.send(_MAIL)
        print(flush=True)
        times: dict[str, list[float]] = {"send": [], "session": []}
        failed = {"send": 0, "session": 0}
        pings = asyncio.create_task(_ping(redis, over))
        while not over.done():
            for name, call in (("send", lambda: producer.send(_MAIL)), ("session", lambda: sessions.load(token))):
                began = time.perf_counter()
                try:
                    await call()
                except (NotEnqueued, SessionsUnavailable):
                    failed[name] += 1
                times[name].append(time.perf_counter() - began)
            await asyncio.sleep(_PAUSE)
        await sessions.close()
        print(orjson.dumps({"times": times, "failed": failed, "silence": await pings}).decode())


async def _ping(redis: Redis, over: "asyncio.Future[str]") -> float:
    longest = 0.0
    while not over.done():
        began = time.perf_counter()
        await redis.ping()
        longest = max(longest, time.perf_counter() - began)
        await asyncio.sleep(_PAUSE / 4)
    return longest


def _print(name: str, rounds: list[tuple[float, dict[str, Any]]]) -> None:
    cells = [f"{median(seconds for seconds, _ in rounds) * 1000:.0f}" if rounds[0][0] else "-"]
    for call in ("send", "session"):
        both = [median(percentile(one["times"][call], share) for _, one in rounds) * 1000 for share in (0.5, 0.99)]
        cells += [f"{both[0]:.2f} / {both[1]:.2f}", str(sum(one["failed"][call] for _, one in rounds))]
    cells.append(f"{median(one['silence'] for _, one in rounds) * 1000:.1f}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
