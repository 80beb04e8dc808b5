"""Mails beside large refreshes in one worker: ``./run bench loop_stalls [--nodes N] [--beside FOLDER]``.

An embedded Postgres and Valkey, a mail sink and one worker with its default settings, each process its own. An
organisation of N nodes with two to three people each is loaded. Mails are sent at a steady pace, ten a second.

    quiet     nothing changes
    check-ins ten check-ins a second; each shipped board is refreshed every three seconds
    tree      a node is renamed, and each board refreshed, every three seconds: everything is computed again

For each, inside the worker: mails from the call of their handler to its end, p99 and longest; the longest time in
which the event loop called nothing; the refreshes that ended. With ``--beside`` the same, in turns, for the worker
of another checkout.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from jobs import Mail
from local.demo.company_postgres import Company
from local.demo.figures import percentile
from local.installation import Installation, InstallationPlan, assemble_installation
from local.organisation import OrganisationSize, generate_organisation
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys

_ZONE = ZoneInfo("America/Lima")
_HERE = Path(__file__).resolve().parent
_MAILS_A_SECOND = 10
_CHECK_INS_A_SECOND = 10
_REFRESH_EVERY = 3.0
_QUIET_SECONDS = 2.0
_LONG_MS = 5
_REPORTS = ("management", "activity")
"""One report of each shipped board."""
_GEN = "momentus:{{reports}}:snapshot:default:{report}"
_RENAME = "UPDATE organisation.nodes SET name = name || '.' WHERE id = (SELECT max(id) FROM organisation.nodes)"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a run: what it is called, and its first and last monotonic second."""

    name: str
    began: float
    ended: float
    refreshes: int


def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--nodes", type=int, default=7_000)
    it.add_argument("--rounds", type=int, default=3)
    it.add_argument("--seconds", type=float, default=20.0, help="length of each phase")
    it.add_argument("--beside", type=Path, help="another checkout whose worker is measured in turns")
    asyncio.run(_measure(it.parse_args()))


async def _measure(asked: argparse.Namespace) -> None:
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.nodes:,} nodes")
    print(f"- {asked.rounds} rounds of {asked.seconds:g} s a phase; median (smallest to largest)\n")
    checkouts = {"new": _HERE.parent} | ({"base": asked.beside.resolve()} if asked.beside else {})
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        system = assemble_installation(InstallationPlan(data_dir=Path(scratch), durable=False))
        servers = [one for one in system.processes if one.name in {"valkey", "postgres", "sink"}]
        async with Supervisor(servers):
            await _fill(system.postgres_dsn, asked.nodes)
            for _ in range(asked.rounds):
                for build, checkout in checkouts.items():
                    file = Path(scratch) / "seen.json"
                    phases = await _round(system, checkout, file, asked.seconds)
                    seen = orjson.loads(file.read_bytes())
                    file.unlink()
                    for phase, figures in {one.name: _figures(one, seen) for one in phases}.items():
                        into = found.setdefault((phase, build), {})
                        for name, value in figures.items():
                            into.setdefault(name, []).append(value)
    _print(found)


async def _fill(dsn: str, nodes: int) -> None:
    size = OrganisationSize(
        nodes=nodes,
        employees=nodes * 5 // 2,
        memberships=nodes * 3,
        tasks=nodes * 3,
        checkins=nodes * 10,
        blockers=nodes * 2,
    )
    async with Company(dsn) as company:
        await company.replace_rows(generate_organisation(size, seed=1, now=datetime.now(_ZONE)))


async def _round(system: Installation, checkout: Path, file: Path, seconds: float) -> list[Phase]:
    """Run one worker through all phases; at its end it writes the file."""
    async with Redis.from_url(system.redis_url) as redis:
        await redis.flushall()
        worker = next(one for one in system.processes if one.name == "worker")
        watched = replace(
            worker,
            argv=[sys.executable, "-P", str(_HERE / "loop" / "watched_worker.py"), str(file)],
            environment={**worker.environment, "PYTHONPATH": str(checkout)},
            cwd=checkout,
        )
        async with Supervisor([watched]), Producer.connect(system.redis_url, budget=2) as producer:
            return await _phases(system, redis, producer, seconds)


async def _phases(system: Installation, redis: Any, producer: Producer, seconds: float) -> list[Phase]:  # noqa: ANN401  redis-py types one client two ways
    mails = asyncio.create_task(_send(producer))
    connection = await asyncpg.connect(system.postgres_dsn)
    async with Company(system.postgres_dsn) as company:
        leaf = await company.leaf()
        while await _generations(redis) < len(_REPORTS):  # noqa: ASYNC110  the event is in another process
            await asyncio.sleep(0.1)
        await _until_quiet(redis)
        renamed = partial(connection.execute, _RENAME)
        phases = [
            await _phase("quiet", redis, seconds),
            await _phase("check-ins", redis, seconds, _write(partial(company.check_in, leaf)), _ask(producer)),
            await _phase("tree", redis, seconds, _ask(producer, renamed)),
        ]
    await connection.close()
    mails.cancel()
    return phases


async def _phase(name: str, redis: Any, seconds: float, *doing: Any) -> Phase:  # noqa: ANN401  coroutines
    before = await _generations(redis)
    began = time.monotonic()
    tasks = [asyncio.create_task(one) for one in doing]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await _until_quiet(redis)
    return Phase(name, began, time.monotonic(), await _generations(redis) - before)


async def _generations(redis: Any) -> int:  # noqa: ANN401  as above
    """How many sets were stored."""
    found = [await redis.hget(_GEN.format(report=name), "_gen") for name in _REPORTS]
    return sum(int(one or 0) for one in found)


async def _until_quiet(redis: Any) -> None:  # noqa: ANN401  as above
    """Until no refresh has waited or run for a while."""
    keys = LaneKeys("reports")
    busy_at = time.monotonic()
    while time.monotonic() < busy_at + _QUIET_SECONDS:
        await asyncio.sleep(0.1)
        if await redis.zcard(keys.queue):
            busy_at = time.monotonic()


async def _send(producer: Producer) -> None:
    number = 0
    while True:
        number += 1
        values = {"task": f"Cierre mensual {number}", "due": "2026-11-30"}
        await producer.send(Mail(to=f"u{number}@example.com", template="task_assigned", values=values))
        await asyncio.sleep(1 / _MAILS_A_SECOND)


async def _write(check_in: Callable[[], Awaitable[None]]) -> None:
    while True:
        await check_in()
        await asyncio.sleep(1 / _CHECK_INS_A_SECOND)


async def _ask(producer: Producer, before: Callable[[], Awaitable[object]] | None = None) -> None:
    while True:
        if before:
            await before()
        for name in _REPORTS:
            await producer.request_refresh(name, scope=None, delay=timedelta(0), board=name)
        await asyncio.sleep(_REFRESH_EVERY)


def _figures(phase: Phase, seen: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    mails = [ms for began, ms in seen["mails"] if phase.began <= began <= phase.ended]
    gaps = [ms for began, ms in seen["gaps"] if phase.began <= began <= phase.ended]
    return {
        "mails": float(len(mails)),
        "refreshes": float(phase.refreshes),
        "mail p50, ms": percentile(mails, 0.5),
        "mail p99, ms": percentile(mails, 0.99),
        "longest mail, ms": max(mails),
        "longest gap of the loop, ms": max(gaps, default=0.0),
        f"gaps over {_LONG_MS} ms": float(sum(ms > _LONG_MS for ms in gaps)),
    }


def _print(found: dict[tuple[str, str], dict[str, list[float]]]) -> None:
    names = list(next(iter(found.values())))
    print(f"| phase | worker | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for (phase, build), figures in sorted(found.items(), key=lambda one: list(found).index(one[0])):
        cells = [
            f"{median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})" for values in figures.values()
        ]
        print(f"| {phase} | {build} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
