"""A process that refreshes boards when it is told to: ``python refresher.py DSN REDIS TENANT some|whole``.

It is the worker's code of the checkout that PYTHONPATH names, a former one included, so it uses nothing that only
one of them has. Each line that it reads is a JSON object, each that it writes the answer:

    {"do": "install"}                   the tenant's triggers
    {"do": "refresh", "board": NAME}    milliseconds of its own processor and of the clock; how each report was
                                        computed ("former": its build knows no way but the whole) and how many
                                        documents were written
    {"do": "memory"}                    resident megabytes, now and at their highest
    {"do": "etags"}                     of each report, a digest of the ETags of all scopes that are stored
"""

import asyncio
import hashlib
import json
import logging
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import structlog
from redis.asyncio import Redis

from reports import load_reports
from reports.boards import boards_of
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

_ZONE = ZoneInfo("America/Lima")
_FORMER = "former"


class Refresher:
    """One tenant's reports, all of them computed whole if so asked."""

    def __init__(self, dsn: str, redis: Any, tenant: str, way: str) -> None:  # noqa: ANN401  redis-py types one client two ways
        self._dsn, self._tenant = dsn, tenant
        reports = load_reports()
        if way == "whole":
            reports = {name: replace(one, sql_of_nodes="") for name, one in reports.items()}
        self._source = Source(dsn, statement_timeout=timedelta(minutes=5))
        self._outbox = Outbox(dsn, tenant=tenant, boards=boards_of(reports))
        store = ReportStore(redis, tenant=tenant)
        self._context = RefreshContext(tenant, reports, self._source, store, _ZONE, self._outbox)

    async def close(self) -> None:
        """Close the connections."""
        await self._outbox.close()
        await self._source.close()

    async def answer(self, asked: dict[str, str]) -> dict[str, Any]:
        """Do what a line asks for."""
        match asked["do"]:
            case "install":
                return await self._install()
            case "refresh":
                return await self._refresh(asked["board"])
            case "memory":
                return memory()
            case _:
                return await self._etags()

    async def _install(self) -> dict[str, Any]:
        connection = await asyncpg.connect(self._dsn)
        role = await connection.fetchval("SELECT current_user")
        await connection.execute(install_script(self._tenant, self._context.boards, role=role))
        await connection.close()
        return {}

    async def _refresh(self, name: str) -> dict[str, Any]:
        board = self._context.boards[name]
        began, processor = time.perf_counter(), time.process_time()
        outcome = await refresh_board(self._context, board)
        spent, took = time.process_time() - processor, time.perf_counter() - began
        if outcome.failed:
            raise SystemExit(f"the board {name} failed: {outcome.failed}")
        return {
            "cpu_ms": spent * 1000,
            "ms": took * 1000,
            "computed": {one: facts.get("computed", _FORMER) for one, facts in outcome.reports.items()},
            "written": sum(int(str(facts["changed"])) for facts in outcome.reports.values()),
        }

    async def _etags(self) -> dict[str, Any]:
        found = {}
        for name in self._context.reports:
            etags = (await self._context.store.read_set(name)).etags
            text = "\n".join(sorted(f"{scope} {etag}" for scope, etag in etags.items()))
            found[name] = hashlib.sha256(text.encode()).hexdigest()
        return found


def memory() -> dict[str, Any]:
    """Return the resident megabytes as the kernel counts them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(fields[field].split()[0]) / 1024 for name, field in (("now", "VmRSS"), ("peak", "VmHWM"))}


async def main(dsn: str, url: str, tenant: str, way: str) -> None:
    """Answer until the input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with Redis.from_url(url) as redis:
        refresher = Refresher(dsn, redis, tenant, way)
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer = await refresher.answer(json.loads(line))
            print(json.dumps(answer), flush=True)
        await refresher.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
