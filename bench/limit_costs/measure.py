"""One measurement on an empty server; a program that bench/limits.py starts. Prints its figures as JSON.

It claims and ends jobs by the engine's own store, without handlers: the server's work is the queue's alone.
The scripts may be those of another checkout, whose worker has the same names and arguments of them.
"""

import argparse
import asyncio
import importlib.util
import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from producers.entry import JobEntry, enqueue
from producers.keys import LaneKeys
from producers.limits import Limit, Rate
from producers.limits.limits import Limits
from producers.link import Link, script
from producers.operation import script_named
from worker.engine import store
from worker.engine.lane import Claim, Completion, Lane

Figures = dict[str, float]

LANE = LaneKeys("mail.normal")
PAYLOAD = b'{"v":1,"f":"job","t":null,"a":[],"k":{"text":"%s"},"et":1795404317562}' % (b"x" * 250)
TOGETHER = 500
"""Jobs in one call of the producer."""
LOGGED_FROM_US = 200
"""A call as long as that is in the server's list of slow ones."""
PLACES, RATE = 1_000, Rate(10**6, timedelta(seconds=1), burst=10**6)
KINDS = {
    "places": {"concurrency": PLACES},
    "rate": {"rates": (RATE,)},
    "both": {"rates": (RATE,), "concurrency": PLACES},
}
"""Limits that are never used up."""


class Bench:
    """A producer and a worker of one lane."""

    def __init__(self, url: str, slots: int) -> None:
        self.link = Link(url, LANE.tag)
        self.limits = Limits(self.link, LANE.tag)
        self.store = store.JobStore(self.link, worker_id="w", lease=timedelta(minutes=1), crash_limit=3)
        self.lane = Lane(LANE, slots)
        self.slots = slots
        self.trips = 0

    async def fill(self, jobs: int, limits: list[str]) -> None:
        """Queue so many jobs, which name these limits in turn; all fall due in one millisecond."""
        due = int(time.time() * 1000)
        for first in range(0, jobs, TOGETHER):
            numbers = range(first, min(first + TOGETHER, jobs))
            names = [limits[number % len(limits)] if limits else "" for number in numbers]
            entries = [
                JobEntry(f"{LANE.tag}{number:08}", PAYLOAD, 0, at_ms=due, limit=name)
                for number, name in zip(numbers, names, strict=True)
            ]
            asked = enqueue(LANE.lane, entries)
            asked.read(await script_named(asked.script).run(self.link.call, asked.keys, asked.arguments))

    async def claim(self, ended: Sequence[Claim] = ()) -> list[Claim]:
        """End these and claim as many as there are slots, in one round trip, as a worker does."""
        now, self.trips = asyncio.get_running_loop().time(), self.trips + 1
        done = [Completion(one, "done", timedelta(0), b"", timedelta(hours=1), "") for one in ended]
        cycle = await self.store.run_cycle([(self.lane, done)] if done else [], [(self.lane, self.slots)])
        if cycle.error or cycle.faults or cycle.refused:
            raise RuntimeError(f"the queue is not in order: {cycle}")
        self.lane.release_slots(self.slots, now)
        return cycle.claims

    async def drain(self, jobs: int, running: Sequence[Claim] = ()) -> None:
        """Claim and end so many jobs, and end those that run."""
        while jobs:
            running = await self.claim(running)
            jobs -= len(running)
        await self.claim(running)

    async def accounts(self) -> "Accounts":
        """What the server has used so far."""
        return Accounts(await self._info("cpu"), await self._info("commandstats"))

    async def _info(self, section: str) -> Mapping[str, str]:
        text: bytes = await self.link.call("INFO", section)
        return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)

    async def longest_ms(self) -> float:
        """The longest call of a script since the last look, by the server's list of slow calls."""
        calls: list[Any] = await self.link.call("SLOWLOG", "GET", "-1")
        await self.link.call("SLOWLOG", "RESET")
        took = [int(one[2]) for one in calls if bytes(one[3][0]).upper() == b"EVALSHA"]
        return max(took, default=LOGGED_FROM_US) / 1000


class Accounts:
    """What the server has used since its start: seconds of CPU, and its commands, those in scripts included."""

    def __init__(self, cpu: Mapping[str, str], commands: Mapping[str, str]) -> None:
        self.cpu = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
        self.calls = {
            name.removeprefix("cmdstat_"): int(facts.partition("calls=")[2].partition(",")[0])
            for name, facts in commands.items()
        }

    def calls_since(self, earlier: "Accounts") -> dict[str, int]:
        """How often each command ran."""
        return {name: count - earlier.calls.get(name, 0) for name, count in self.calls.items()}


async def measure_keys(bench: Bench, jobs: int, keys: int, kind: str) -> Figures:
    """Jobs that name so many limits in turn, none of which is ever used up."""
    await bench.limits.define(Limit("customer:*", **KINDS[kind]))  # type: ignore[arg-type]  # by name
    await bench.fill(jobs, [f"customer:{number}" for number in range(keys)])
    before = await bench.accounts()
    await bench.drain(jobs)
    after = await bench.accounts()
    calls = after.calls_since(before)
    each = {f"calls {name}": round(count / jobs, 3) for name, count in calls.items() if count >= jobs / 1000}
    return {
        "cpu us/job": (after.cpu - before.cpu) * 1e6 / jobs,
        "commands/job": sum(calls.values()) / jobs,
        **each,
    }


async def measure_flood(bench: Bench, jobs: int, _keys: int, _kind: str) -> Figures:
    """Jobs of one limit without room: set aside, a few run one by one, and let go by its end."""
    key, some = "customer:1", min(jobs - 1, 200)
    await bench.limits.define(Limit(key, concurrency=1), Limit("other", concurrency=1))
    await bench.fill(jobs, [key])
    running = await bench.claim()
    aside = await _timed(bench, jobs, _set_aside(bench))
    one_by_one = await _timed(bench, some, _run_one_by_one(bench, running, some))
    await bench.limits.remove(key)
    back = await _timed(bench, jobs - some, bench.drain(jobs - some))
    named = {"aside": aside, "one by one": one_by_one, "back": back}
    return {f"{name} {figure}": value for name, found in named.items() for figure, value in found.items()}


async def _timed(bench: Bench, jobs: int, work: Awaitable[None]) -> Figures:
    await bench.longest_ms()
    before, began, trips = await bench.accounts(), time.perf_counter(), bench.trips
    await work
    seconds, after = time.perf_counter() - began, await bench.accounts()
    return {
        "s": seconds,
        "cpu us/job": (after.cpu - before.cpu) * 1e6 / jobs,
        "cpu ms/trip": (after.cpu - before.cpu) * 1e3 / (bench.trips - trips),
        "longest ms": await bench.longest_ms(),
    }


async def _set_aside(bench: Bench) -> None:
    while bench.lane.has_more:
        if await bench.claim():
            raise RuntimeError("a job was claimed from a limit without room")


async def _run_one_by_one(bench: Bench, running: list[Claim], jobs: int) -> None:
    """End so many, each of which lets the next one begin; the last is put back."""
    for left in range(jobs, 0, -1):
        running = await bench.claim(running)
        while not running:
            running = await bench.claim()
        if left == 1:
            defer = [Completion(one, "defer", timedelta(0), b"", timedelta(0), "") for one in running]
            await bench.store.run_cycle([(bench.lane, defer)], [])


def use_scripts(folder: Path) -> None:
    """Let the engine and the producers read the scripts of another checkout, put together as that one does it."""
    ours = Path(script.__file__).parents[2]
    path = folder / Path(script.__file__).relative_to(ours)
    spec = importlib.util.spec_from_file_location("producers.link.other_script", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"no scripts of the queue in {folder}")
    other = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other)

    def read_other(room: Path, name: str) -> str:
        source: str = other.read_script(folder / room.relative_to(ours), name)
        return source

    for reader in (script, store):
        reader.read_script = read_other  # type: ignore[attr-defined]  # nobody else has two builds


async def _main(asked: argparse.Namespace) -> None:
    if asked.scripts:
        use_scripts(asked.scripts)
    bench = Bench(asked.url, asked.slots)
    await bench.link.call("FLUSHALL", "SYNC")
    await bench.link.call("CONFIG", "SET", "slowlog-log-slower-than", LOGGED_FROM_US, "slowlog-max-len", 100_000)
    await bench.longest_ms()
    measure = measure_flood if asked.what == "flood" else measure_keys
    print(json.dumps(await measure(bench, asked.jobs, asked.keys, asked.what)))
    await bench.store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("what", choices=["flood", *KINDS])
    parser.add_argument("jobs", type=int)
    parser.add_argument("keys", type=int)
    parser.add_argument("slots", type=int)
    parser.add_argument("--scripts", type=Path)
    uvloop.run(_main(parser.parse_args()))
