"""`send` at level ``redis``, by this checkout and another in turn on one server."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from bench.ledger_costs.servers import Servers

Figures = dict[str, float]

_HERE = Path(__file__).parent
_TURNS = 2


async def level_redis(servers: Servers, jobs: int, beside: Path | None) -> Figures:
    """Medians of a process each; the checkouts take turns, the order too, and the least of the turns counts."""
    builds = {"ours": _HERE.parents[1]} | ({"beside": beside} if beside else {})
    found: dict[str, list[float]] = {}
    for turn in range(_TURNS):
        order = list(builds.items())[:: -1 if turn % 2 else 1]
        for build, folder in order:
            await servers.redis.flushall()
            for name, value in (await _sent(servers, jobs, folder)).items():
                found.setdefault(f"{build}: {name}", []).append(value)
    figures = {name: min(values) for name, values in found.items()}
    if beside:
        for name in ("p50, ms", "client, us", "Redis, us"):
            figures[f"beside / ours: {name.partition(',')[0]}"] = (
                figures[f"beside: {name}"] / figures[f"ours: {name}"]
            )
    return figures


async def _sent(servers: Servers, jobs: int, folder: Path) -> Figures:
    before = await _redis_us(servers)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(_HERE / "level_redis.py"), servers.url, str(jobs)),
        stdout=PIPE,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    told, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"level_redis.py failed in {folder}, see above")
    figures: Figures = json.loads(told)
    return figures | {"Redis, us": (await _redis_us(servers) - before) / jobs}


async def _redis_us(servers: Servers) -> float:
    used = await servers.redis.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"]) * 1e6
