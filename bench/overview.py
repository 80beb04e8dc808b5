"""Cost of looking at a large installation: ``./run bench overview [--rounds N] [--jobs N] [--dead N]``.

One private Valkey with a million waiting jobs (a fifth of them delayed), 100,000 dead ones, a hundred workers that
serve all lanes, two limits and sixty notes of each lane's flow. Measured in a console's own process, the first
call apart from the others:

    page      the overview, from the request to the response
    scrape    the fleet's metrics, likewise
    query     the depth, which both of them, the JSON and the command read

`server` is Redis's own account of the scripts, by far the most of it; both it and the wall time hold what other
processes of a busy machine took meanwhile, the processor time does not.

Printed as medians of the rounds (smallest-largest).
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from jobs.lanes import LANES
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit, Rate
from producers.limits.limits import Limits

_TOGETHER = 10_000
_SLOTS = 20


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--rounds", type=int, default=50)
    it.add_argument("--jobs", type=int, default=1_000_000)
    it.add_argument("--dead", type=int, default=100_000)
    it.add_argument("--workers", type=int, default=100)
    asked = it.parse_args()
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}\n- {asked.rounds} rounds\n")
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([valkey.process()]):
            async with Redis.from_url(valkey.url) as redis:
                await _fill(redis, asked)
            found = await _measure(valkey.url, asked.rounds)
    print("| measured | first, ms | median, ms (smallest-largest) |\n|---|---|---|")
    for name, (first, *others) in found.items():
        print(f"| {name} | {first:.2f} | {median(others):.2f} ({min(others):.2f}-{max(others):.2f}) |")
    print(f"\n- load average after: {os.getloadavg()[0]:.2f}")


async def _fill(redis: Redis, asked: argparse.Namespace) -> None:
    now = int(time.time() * 1000)
    for lane in LANES:
        await _fill_lane(redis, LaneKeys(lane), asked.jobs // len(LANES), asked.dead // len(LANES), now)
    for group in {LaneKeys(lane).tag: LaneKeys(lane) for lane in LANES}.values():
        await _add_workers(
            redis, group, [lane for lane in LANES if LaneKeys(lane).tag == group.tag], asked.workers, now
        )
    limits = Limits(redis, LaneKeys("mail.bulk").tag)
    await limits.define(
        Limit("account:one", (Rate.within(30, timedelta(minutes=1)),), concurrency=5),
        Limit("account:two", (Rate.within(2000, timedelta(days=1)),)),
    )
    for lane in LANES:
        if lane.startswith("mail."):
            await limits.bind(lane, LaneLimit(["account:one", "account:two"]))


async def _fill_lane(redis: Redis, keys: LaneKeys, jobs: int, dead: int, now: int) -> None:
    for first in range(0, jobs, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, jobs))
        await redis.zadd(
            keys.queue, {f"{keys.tag}{one:08}": now + (one if one % 5 == 0 else -one) for one in numbers}
        )
    for first in range(0, dead, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, dead))
        await redis.zadd(keys.dead, {f"{keys.tag}d{one:08}": now - one for one in numbers})
    await redis.hset(keys.counters, f"accepted:{keys.lane}", str(jobs + dead))  # type: ignore[misc]  # redis-py
    flow = f"momentus:{keys.tag}:flow:{keys.lane}"
    await redis.rpush(  # type: ignore[misc]  # redis-py
        flow, *(f"{now - 3000 * ago} {10_000 - 60 * ago} {jobs + 60 * ago} {jobs}" for ago in range(60))
    )


async def _add_workers(redis: Redis, group: LaneKeys, lanes: list[str], workers: int, now: int) -> None:
    facts = {
        "host": "worker-host.example",
        "pid": 4711,
        "lanes": {one: {"busy": 3, "slots": _SLOTS} for one in lanes},
    }
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(workers):
            pipeline.set(group.worker(f"{number:016x}"), orjson.dumps(facts))
            pipeline.zadd(group.workers, {f"{number:016x}": now})
        await pipeline.execute()


async def _measure(url: str, rounds: int) -> dict[str, list[float]]:
    """Measure in the console's own order: what it loads at its start is loaded before."""
    from ops.console.exchange import PageRequest  # noqa: PLC0415  as a console that starts
    from ops.console.page import ConsolePage  # noqa: PLC0415  as above
    from ops.console.render import load_pages  # noqa: PLC0415  as above
    from ops.depth.read import read_depth  # noqa: PLC0415  as above

    found = defaultdict[str, list[float]](list)
    async with Redis.from_url(url) as redis:
        load_pages()
        console = ConsolePage(redis, tenant="default", named="MOMENTUS_REDIS_URL")

        def get(path: str) -> Callable[[], Awaitable[Any]]:
            request = PageRequest(method="GET", path=path, host="127.0.0.1", peer="127.0.0.1")
            return lambda: console.respond(request)

        calls = {"page": get("/"), "scrape": get("/metrics"), "query": lambda: read_depth(redis, tenant="default")}
        for name, call in calls.items():
            for _ in range(rounds + 1):
                before = await _server_ms(redis)
                wall, processor = await _time(call)
                found[name].append(wall)
                found[f"{name}, processor of this process"].append(processor)
                found[f"{name}, server"].append(await _server_ms(redis) - before)
    return found


async def _time(act: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Return how long a call took, and the processor time of this process for it, in ms."""
    began, used = time.perf_counter(), time.process_time()
    await act()
    return (time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000


async def _server_ms(redis: Redis) -> float:
    """Return the time of all commands so far, those within scripts once; INFO's own is left out."""
    stats = await redis.info("commandstats")
    return float(stats["cmdstat_evalsha"]["usec"] / 1000) if "cmdstat_evalsha" in stats else 0.0


if __name__ == "__main__":
    asyncio.run(main())
