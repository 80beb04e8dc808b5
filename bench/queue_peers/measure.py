"""The measurements of one peer. Each begins with an empty server and gives its figures by name.

    fill      jobs handed over in bulk and left waiting: how fast, and the memory of each
    drain     a filled queue emptied by one worker process: how fast, and what it costs the server
    drain two the same with two processes, counted while both are at work
    enqueue   calls one after the other, nobody working: how long each takes
    pickup    calls to an idle queue with a worker waiting: from the call to the start of the job
    depth     a worker on a queue with many waiting: what its scripts take of the server for each job
    crash     SIGKILL of a worker 0.2 s into a job of 1 s, another one started at once: from the kill to the re-run

Start-up of workers is left out of the rates and is within the server's costs, where it is a few commands.
"""

import asyncio
import time
from pathlib import Path

from bench.queue_peers.figures import rate, shared_rate, waits
from bench.queue_peers.install import Installed
from bench.queue_peers.processes import Place, produce, workers
from bench.queue_peers.server import Accounts, Server
from local.demo.figures import percentile

Figures = dict[str, float]

_PATIENCE = 240.0
_CALLS = 2_000
_OF_THE_DEPTH = 5_000
_INTO_THE_JOB = 0.2
_CRASH_JOB = 1.0
_SETTLE = 0.05


class Bench:
    """Measures peers on one server.

    Args:
        scratch: for the files of the measurements.
        jobs: how many of them; a slow peer gets its share.
    """

    def __init__(self, server: Server, scratch: Path, jobs: int) -> None:
        self._server = server
        self._scratch = scratch
        self._jobs = jobs

    async def fill(self, installed: Installed) -> Figures:
        """Bulk and memory."""
        return await self._filled(await self._empty_place(installed))

    async def drain(self, installed: Installed) -> Figures:
        """One process; bulk and memory by the way."""
        place = await self._empty_place(installed)
        figures = await self._filled(place)
        before = await self._server.accounts()
        async with workers(place) as running:
            await running.reach(self._count(place), within=_PATIENCE)
            after = await self._server.accounts()
            (starts,) = running.starts()
        return figures | {"drain": rate(starts)} | _costs(before, after, len(starts))

    async def drain_two(self, installed: Installed) -> Figures:
        """Two processes."""
        place = await self._empty_place(installed)
        await self._filled(place)
        async with workers(place, 2) as running:
            await running.reach(self._count(place), within=_PATIENCE)
            both = shared_rate(running.starts())
        return {} if both is None else {"drain two": both}

    async def enqueue(self, installed: Installed) -> Figures:
        """Sequential calls."""
        place = await self._empty_place(installed)
        took = await produce(place, "one", min(self._jobs, _CALLS), within=_PATIENCE)
        return _percentiles("enqueue", [one / 1e6 for one in took])

    async def pickup(self, installed: Installed) -> Figures:
        """An idle queue."""
        place = await self._empty_place(installed)
        async with workers(place) as running:
            sent = await produce(place, "idle", installed.peer.samples, within=_PATIENCE)
            (starts,) = running.starts()
        return _percentiles("pickup", waits(sent, starts))

    async def crash(self, installed: Installed, *, within: float) -> Figures:
        """Seconds from the kill to the re-run, by the worker's defaults."""
        await self._server.reset()
        place = Place.below(self._scratch, installed, self._server.url, job_seconds=_CRASH_JOB)
        async with workers(place) as first:
            await produce(place, "bulk", 1, within=_PATIENCE)
            await first.reach(1, within=_PATIENCE)
            await asyncio.sleep(_INTO_THE_JOB)
            await first.kill()
        killed = time.monotonic_ns()
        async with workers(place) as second:
            await second.reach(2, within=within)  # the file is the same: the first start is in it
            ((_, again, *_),) = second.starts()
        return {"crash": (again - killed) / 1e9}

    async def depth(self, installed: Installed, waiting: int) -> Figures:
        """So many waiting; some thousands of them are run."""
        place = await self._empty_place(installed)
        await produce(place, "bulk", waiting, within=_PATIENCE)
        before = await self._server.accounts()
        async with workers(place) as running:
            await running.reach(_OF_THE_DEPTH, within=_PATIENCE)
            after = await self._server.accounts()
            (starts,) = running.starts()
        return {"drain": rate(starts), "scripts": (after.script_us - before.script_us) / len(starts)}

    async def _empty_place(self, installed: Installed) -> Place:
        await self._server.reset()
        return Place.below(self._scratch, installed, self._server.url)

    async def _filled(self, place: Place) -> Figures:
        before = await self._server.accounts()
        (took,) = await produce(place, "bulk", self._count(place), within=_PATIENCE)
        await asyncio.sleep(_SETTLE)  # the producer's connections and the log's buffer are gone then
        after = await self._server.accounts()
        jobs = self._count(place)
        return {"bulk": jobs * 1e9 / took, "memory": (after.memory - before.memory) / jobs}

    def _count(self, place: Place) -> int:
        return max(100, round(self._jobs * place.installed.peer.share))


def _costs(before: Accounts, after: Accounts, jobs: int) -> Figures:
    return {
        "cpu": (after.cpu - before.cpu) * 1e6 / jobs,
        "commands": (after.commands - before.commands) / jobs,
        "reads": (after.reads - before.reads) / jobs,
    }


def _percentiles(name: str, milliseconds: list[float]) -> Figures:
    return {f"{name} p50": percentile(milliseconds, 0.5), f"{name} p99": percentile(milliseconds, 0.99)}
