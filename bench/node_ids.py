"""What UUIDs and texts as node ids cost beside integers: ``./run bench node_ids [--rounds N] [--tenfold]``.

An embedded Postgres and Valkey, filled with the reference organisation (700 nodes; with ``--tenfold`` 7,000), once
for each type of id: the same rows, with other ids. The shipped reports are refreshed for each type in turn, in one
process, so that each round measures all types side by side.

    all changed       nothing stored and nothing remembered: every document is computed and written; beside it the
                      processor time of the worker's process, which neighbours on the machine do not lengthen
    one changed       a task was closed since: what a refresh takes most of the time
    worker            largest memory that one refresh of all took, as Python counts it
    Redis             memory of the stored reports, as Redis counts it

Printed as medians of the rounds, with the ratio to integers of each round, its median.
"""

import argparse
import asyncio
import logging
import os
import tempfile
import time
import tracemalloc
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import asyncpg
import structlog
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from local.demo.company_postgres import Company
from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from local.organisation import OrganisationSize, generate_organisation
from local.supervisor.supervisor import Supervisor
from reports import Report, load_reports
from reports.keys import snapshot
from reports.source_postgres import Source
from reports.store import ReportStore
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

IDS = {"integer": "{0}", "uuid": "md5({0}::text)::uuid", "text": "'unit-' || {0}"}
"""Types of ids, each with the SQL that makes one of an integer."""
_TABLES = ("employees", "tasks", "checkins", "blockers")
_ZONE = ZoneInfo("America/Lima")
_FIGURES = (
    "all changed ms",
    "all changed CPU ms",
    "one changed ms",
    "one changed CPU ms",
    "worker MB",
    "Redis MB",
)
_MIB = 1 << 20


@dataclass(slots=True)
class IdBench:
    """One type of ids: its reports, and the figures of each round."""

    refresher: RefreshContext
    dsn: str
    figures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _FIGURES})

    async def round(self, database: "asyncpg.Connection[asyncpg.Record]", schema: str, redis: Redis) -> None:
        """Measure each figure once."""
        for report in self.refresher.reports:
            await redis.delete(snapshot(self.refresher.tenant, report))
        source = Source(self.dsn, statement_timeout=timedelta(minutes=1))
        self.refresher = replace(self.refresher, source=source)
        await self._measure("all changed")
        for _ in range(2):  # the server settles on its plans
            await self._refresh_ms()
        await database.execute(
            f"UPDATE {schema}.tasks SET closed_at = now() "  # noqa: S608  ours
            f"WHERE id = (SELECT min(id) FROM {schema}.tasks WHERE closed_at IS NULL)"
        )
        await self._measure("one changed")
        await source.close()
        used = [
            await redis.memory_usage(snapshot(self.refresher.tenant, report), samples=0)
            for report in self.refresher.reports
        ]
        self.figures["Redis MB"].append(sum(used) / _MIB)

    async def memory(self, redis: Redis) -> float:
        """Return the largest memory of a refresh of everything, in MiB."""
        for report in self.refresher.reports:
            await redis.delete(snapshot(self.refresher.tenant, report))
        source = Source(self.dsn, statement_timeout=timedelta(minutes=1))
        self.refresher = replace(self.refresher, source=source)
        tracemalloc.start()
        await self._refresh_ms()
        most = tracemalloc.get_traced_memory()[1] / _MIB
        tracemalloc.stop()
        await source.close()
        return most

    async def _measure(self, what: str) -> None:
        before = time.process_time()
        self.figures[f"{what} ms"].append(await self._refresh_ms())
        self.figures[f"{what} CPU ms"].append((time.process_time() - before) * 1000)

    async def _refresh_ms(self) -> float:
        began = time.perf_counter()
        for board in self.refresher.boards.values():
            failed = (await refresh_board(self.refresher, board)).failed
            if failed:
                raise SystemExit(str(failed))
        return (time.perf_counter() - began) * 1000


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--rounds", type=int, default=9)
    it.add_argument("--tenfold", action="store_true")
    asked = it.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians\n")
    found = await _measured(asked.rounds, 10 if asked.tenfold else 1)
    print(f"| ids | {' | '.join(_FIGURES)} |\n|---|{'---|' * len(_FIGURES)}")
    for kind, bench in found.items():
        print(f"| {kind} | {' | '.join(_cell(bench, found['integer'], figure) for figure in _FIGURES)} |")


def _cell(bench: IdBench, integers: IdBench, figure: str) -> str:
    mine, theirs = bench.figures[figure], integers.figures[figure]
    ratio = median(one / other for one, other in zip(mine, theirs, strict=True))
    return f"{median(mine):,.1f} ({ratio:.2f})"


async def _measured(rounds: int, times: int) -> Mapping[str, IdBench]:
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="momentus-bench-"))
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        postgres = Postgres.in_directory(Path(scratch) / "postgres")
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        await stack.enter_async_context(Supervisor([postgres.process(), valkey.process()]))
        company = await stack.enter_async_context(Company(postgres.dsn))
        whole = OrganisationSize()
        names = ("nodes", "employees", "memberships", "tasks", "checkins", "blockers")
        size = OrganisationSize(**{name: getattr(whole, name) * times for name in names})
        await company.replace_rows(generate_organisation(size, seed=1, now=datetime.now(_ZONE)))
        redis = await stack.enter_async_context(Redis.from_url(valkey.url))
        database = await asyncpg.connect(postgres.dsn)
        found = {kind: await _bench_of(kind, database, postgres.dsn, redis) for kind in IDS}
        for _ in range(rounds):
            for kind, bench in found.items():
                await bench.round(database, f"of_{kind}", redis)
        for _ in range(2):  # what the process keeps of its first refresh counts for no type
            for bench in found.values():
                bench.figures["worker MB"] = [await bench.memory(redis)] * rounds
        await database.close()
        return found


async def _bench_of(kind: str, database: "asyncpg.Connection[asyncpg.Record]", dsn: str, redis: Redis) -> IdBench:
    """Copy the organisation with ids of this type."""
    made = IDS[kind]
    await database.execute(f"CREATE SCHEMA of_{kind}")
    await database.execute(
        f"CREATE TABLE of_{kind}.nodes AS SELECT {made.format('id')} AS id, "  # noqa: S608  ours
        f"{made.format('parent_id')} AS parent_id, name, kind FROM organisation.nodes"
    )
    for table in _TABLES:
        await database.execute(f"CREATE TABLE of_{kind}.{table} (LIKE organisation.{table} INCLUDING INDEXES)")
        columns = [
            row[0]
            for row in await database.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'organisation' "
                "AND table_name = $1 ORDER BY ordinal_position",
                table,
            )
        ]
        cast = "bigint" if kind == "integer" else kind
        await database.execute(
            f"ALTER TABLE of_{kind}.{table} ALTER COLUMN node_id TYPE {cast} USING {made.format('node_id')}"
        )
        chosen = ", ".join(made.format("node_id") if name == "node_id" else name for name in columns)
        await database.execute(
            f"INSERT INTO of_{kind}.{table} ({', '.join(columns)}) SELECT {chosen} FROM organisation.{table}"  # noqa: S608  ours
        )
    await database.execute("ANALYZE")
    reports = {report.name: _of_schema(report, f"of_{kind}.") for report in load_reports().values()}
    source = Source(dsn, statement_timeout=timedelta(minutes=1))
    return IdBench(RefreshContext(kind, reports, source, ReportStore(redis, tenant=kind), _ZONE), dsn)


def _of_schema(report: Report, schema: str) -> Report:
    sources = tuple(one.replace("organisation.", schema) for one in report.sources)
    return replace(
        report,
        sql=report.sql.replace("organisation.", schema),
        tree=report.tree.replace("organisation.", schema),
        valid_until=report.valid_until.replace("organisation.", schema),
        sources=sources,
        keep=timedelta(0),
    )


if __name__ == "__main__":
    asyncio.run(main())
