"""Forecasts beside what really happened: ``./run bench forecast [NAME...] [--write FOLDER]``.

A private Valkey, real worker processes, and a drain of minutes for each scenario
(`bench/drains/scenarios.py`). Every second the depth is read, as `ops depth` does; when the drain is over, the
forecasts are printed beside the real time that was left. With --write, forty looks of each drain are kept as a
file, from which `tests/unit/test_forecast.py` plays them. Several scenarios run beside each other, each with a
server of its own.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from redis.asyncio import Redis

from bench.drains.recording import RecordedDrain
from bench.drains.scenarios import LANE, DrainJob, Scenario, scenarios
from bench.queue_peers.conditions import machine
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor
from ops.depth.drain_facts import DrainFacts
from ops.depth.forecast import forecast_drain
from ops.depth.read import read_depth
from ops.depth.texts import drain_text
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit
from producers.limits.limits import Limits

_WORKER = Path(__file__).parent / "drains" / "worker_process.py"
_EVERY_S = 1.0
_KEPT = 40


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(scenarios())}; all by default")
    it.add_argument("--write", type=Path, metavar="FOLDER", help="keep the recordings there")
    asked = it.parse_args()
    load = os.getloadavg()[0]
    print(f"- {machine()}\n- load average before: {load:.2f}\n")
    names = asked.names or list(scenarios())
    drains = await asyncio.gather(*(_record(scenarios()[name], load) for name in names))
    for name, drain in zip(names, drains, strict=True):
        _print_drain(name, drain)
        if asked.write:
            drain.write(asked.write / f"{name}.json")


async def _record(scenario: Scenario, load: float) -> RecordedDrain:
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([valkey.process()]), Redis.from_url(valkey.url) as redis:
            await _define_limit(redis, scenario)
            async with (
                _workers(valkey.url, scenario) as workers,
                Producer.connect(valkey.url, budget=5) as producer,
            ):
                return await _watch(redis, producer, workers, scenario, load)


async def _define_limit(redis: Redis, scenario: Scenario) -> None:
    if scenario.limit is None:
        return
    limits = Limits(redis, LaneKeys(LANE).tag)
    await limits.define(scenario.limit)


@asynccontextmanager
async def _workers(url: str, scenario: Scenario) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-P", str(_WORKER), url, str(slots), stdout=DEVNULL)
        for slots in scenario.slots
    ]
    try:
        yield started
    finally:
        for one in started:
            if one.returncode is None:
                one.kill()
            await one.wait()


async def _watch(
    redis: Redis,
    producer: Producer,
    workers: list[asyncio.subprocess.Process],
    scenario: Scenario,
    load: float,
) -> RecordedDrain:
    while len((await read_depth(redis, tenant="default")).workers) < len(workers):  # noqa: ASYNC110  other processes
        await asyncio.sleep(0.1)
    if scenario.limit is not None and not scenario.named:  # a worker that starts unbinds what it does not declare
        await Limits(redis, LaneKeys(LANE).tag).bind(LANE, LaneLimit([scenario.limit.key]))
    await asyncio.sleep(4)  # its flow is noted before the first job, as in an installation that runs
    await _send(producer, scenario)
    began_ms, looks = await _now_ms(redis), dict[int, DrainFacts]()
    arriving = asyncio.create_task(_arrive(producer, scenario))
    killed_ms = None
    try:
        while True:
            at, facts = await _look(redis)
            looks[at] = facts
            size = facts.ready + facts.leased + facts.delayed
            if scenario.kill_at is not None and killed_ms is None and size <= scenario.kill_at:
                workers[0].kill()
                killed_ms = await _now_ms(redis)
            if not size or (not facts.waiting and scenario.per_second and arriving.done() is False):
                break
            if at - began_ms > scenario.ends_after * 1000:
                break
            await asyncio.sleep(_EVERY_S)
    finally:
        arriving.cancel()
        await asyncio.gather(arriving, return_exceptions=True)
    return _recording(scenario, began_ms, looks, killed_ms, load)


async def _send(producer: Producer, scenario: Scenario) -> None:
    name = scenario.limit.key if scenario.limit and scenario.named else None
    jobs = [DrainJob(text) for text in scenario.jobs]
    for first in range(0, len(jobs), 500):
        await producer.send_many(jobs[first : first + 500], limit=name)


async def _arrive(producer: Producer, scenario: Scenario) -> None:
    if not scenario.per_second:
        return
    began, sent, texts = time.monotonic(), 0, cycle(scenario.jobs)
    while (passed := time.monotonic() - began) < scenario.arrives_for:
        wanted = int(passed * scenario.per_second)
        if wanted > sent:
            await producer.send_many([DrainJob(next(texts)) for _ in range(wanted - sent)])
            sent = wanted
        await asyncio.sleep(0.2)


async def _now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds * 1000 + microseconds // 1000)


async def _look(redis: Redis) -> tuple[int, DrainFacts]:
    depth = await read_depth(redis, tenant="default")
    lane = depth.lane(LANE)
    if lane is None:
        raise RuntimeError(f"no lane {LANE}")
    facts = lane.facts
    return facts.notes[-1].at_ms if facts.notes else round(depth.at.timestamp() * 1000), facts


def _recording(
    scenario: Scenario, began_ms: int, looks: dict[int, DrainFacts], killed_ms: int | None, load: float
) -> RecordedDrain:
    done = [at for at, facts in looks.items() if not facts.waiting]
    ended = [at for at, facts in looks.items() if not facts.ready + facts.leased + facts.delayed]
    busy = [at for at, facts in looks.items() if facts.waiting or facts.delayed]
    last_busy = max((at for at in busy if looks[at].waiting), default=began_ms)
    kept = [busy[place * len(busy) // _KEPT] for place in range(_KEPT)] if len(busy) > _KEPT else busy
    return RecordedDrain(
        made=f"by bench/forecast.py on {datetime.now(UTC):%Y-%m-%d}, load average before {load:.1f}; not edited",
        told=scenario.told,
        began_ms=began_ms,
        done_ms=min((at for at in done if at > last_busy), default=None),
        ended_ms=min(ended, default=None),
        killed_ms=killed_ms,
        looks={at: looks[at] for at in kept},
    )


def _print_drain(name: str, drain: RecordedDrain) -> None:
    print(f"\n{name}: {drain.told}")
    print("| after s | done in s | forecast s | ended in s | forecast s | text |\n|---|---|---|---|---|---|")
    for at, facts in drain.looks.items():
        found = forecast_drain(facts)
        row = [(at - drain.began_ms) / 1000, _left(drain.done_ms, at), found.seconds]
        row += [_left(drain.ended_ms, at), found.ends_s]
        cells = " | ".join("-" if one is None else f"{one:.1f}" for one in row)
        print(f"| {cells} | {drain_text(found)} |")


def _left(end_ms: int | None, at_ms: int) -> float | None:
    return None if end_ms is None else (end_ms - at_ms) / 1000


if __name__ == "__main__":
    asyncio.run(main())
