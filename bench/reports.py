"""What stored reports cost, and what they save: ``./run bench reports [--rounds N] [--tenfold]``.

A Postgres and a Valkey of its own, both embedded and durable, filled with the reference organisation: 700 nodes,
5,000 people, 480,000 check-ins, 40,000 blockers, 60,000 tasks; with ``--tenfold`` ten times as many of each. One
process with the worker's own code, all shipped reports. Medians of the rounds, smallest and largest beside them.

    refresh           in Postgres: the time of the report's own queries, by its clock; in the worker: the rest,
                      computing and storing included
    write to readable from the commit of a check-in to a stored set that holds it, with triggers, the prober
                      and the debounce
    saved             database time of a working day: ten managers who each look once a minute for 8 h and ask node
                      by node, against that day's refreshes and looks. Which refreshes are due is replayed: the
                      organisation's own rows of its latest full weekday say when tables were written to, the
                      prober's decisions (debounce, ceiling, budget, valid_until) what follows, over 24 h. Looks,
                      refreshes and walks each cost what they are measured to cost here in processor time of
                      Postgres, all that a refresh does there included; to the looks belongs what the prober asks
                      twice a minute, which triggers there are
    idle              probes of a database in which nothing happens: queries of reports, and the age that readers
                      see
    triggers          an UPDATE of one row in a loop, and 16 writers for some seconds, with and without the
                      triggers
    cold              from an empty Redis to all reports stored
"""

import argparse
import asyncio
import logging
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import structlog
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from bench.reports_day.replay import Replayed, WorkingDay, replay
from bench.reports_day.work_postgres import Work
from local.demo.company_postgres import Company
from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from local.organisation import OrganisationSize, generate_organisation
from local.supervisor.supervisor import Supervisor
from producers import Producer
from reports import load_reports
from reports.boards import boards_of
from reports.catalogue_postgres import read_catalogue
from reports.day import day_around
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script, uninstall_script
from worker.reports.prober import Prober
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

TENANT = "default"
MANAGERS, MINUTES = 10, 8 * 60
WRITERS, WRITING_SECONDS = 16, 4.0
_TOUCH = "UPDATE organisation.tasks SET due_at = due_at WHERE id = $1"
_ZONE = ZoneInfo("America/Lima")
_SATURDAY = 5
_WARM = 5
"""Refreshes after which the server has settled on the plans of its statements."""
_WRITTEN = (
    ("organisation.checkins", "at"),
    ("organisation.tasks", "created_at"),
    ("organisation.tasks", "closed_at"),
    ("organisation.blockers", "opened_at"),
    ("organisation.blockers", "closed_at"),
    ("organisation.employees", "joined_at"),
    ("organisation.employees", "left_at"),
)
"""Which columns tell when a table was written to."""
_INSTANTS = "SELECT {column} AS at FROM {table} WHERE {column} >= $1 AND {column} < $2"
_DUE = """
SELECT DISTINCT due_at + interval '1 microsecond' AS at FROM organisation.tasks
WHERE due_at >= $1 AND due_at < $2 AND created_at <= due_at AND (closed_at IS NULL OR closed_at > due_at)
ORDER BY 1
"""

Refreshing = Callable[[], Awaitable[Any]]


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--rounds", type=int, default=7)
    it.add_argument("--tenfold", action="store_true")
    asked = it.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians\n")
    print("| figure | measured |\n|---|---|")
    async with _bench(10 if asked.tenfold else 1) as bench:
        await bench.refresh(asked.rounds)
        await bench.memory()
        await bench.saved(min(3, asked.rounds))
        await bench.cold(asked.rounds)
        await bench.triggers(asked.rounds)
        await bench.living(asked.rounds)


@asynccontextmanager
async def _bench(times: int) -> AsyncIterator["Bench"]:
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        postgres = Postgres.in_directory(Path(scratch) / "postgres")
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        whole = OrganisationSize()
        names = ("nodes", "employees", "memberships", "tasks", "checkins", "blockers")
        size = OrganisationSize(**{name: getattr(whole, name) * times for name in names})
        async with Supervisor([postgres.process(), valkey.process()]), Company(postgres.dsn) as company:
            await company.replace_rows(generate_organisation(size, seed=1, now=datetime.now(_ZONE)))
            async with Redis.from_url(valkey.url) as redis:
                bench = Bench(postgres.dsn, valkey.url, company, redis)
                try:
                    yield bench
                finally:
                    await bench.close()


class Bench:
    """One figure after another, each a row of a table."""

    def __init__(self, dsn: str, url: str, company: Company, redis: Any) -> None:  # noqa: ANN401  redis-py types one client two ways
        self._dsn, self._url, self._company, self._redis = dsn, url, company, redis
        reports = load_reports()
        self._source = Source(dsn, statement_timeout=timedelta(minutes=1))
        self._outbox = Outbox(dsn, tenant=TENANT, boards=boards_of(reports))
        store = ReportStore(redis, tenant=TENANT)
        self._refresher = RefreshContext(TENANT, reports, self._source, store, _ZONE, self._outbox)
        self._costs: dict[str, list[float]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._outbox.close()
        await self._source.close()

    async def refresh(self, rounds: int) -> None:
        """Each board, with one check-in before each round, so that there is something to store."""
        leaf = await self._company.leaf()
        cost: dict[str, list[float]] = {}
        whole: list[float] = []
        worked: list[float] = []
        for number in range(rounds + 2):
            await self._company.check_in(leaf)
            began, processor = time.perf_counter(), time.process_time()
            outcomes = [await refresh_board(self._refresher, board) for board in self._refresher.boards.values()]
            if number < 2:  # noqa: PLR2004  what is made once is warm by then
                continue
            worked.append((time.process_time() - processor) * 1000)
            whole.append((time.perf_counter() - began) * 1000)
            for outcome in outcomes:
                for name, facts in outcome.reports.items():
                    cost.setdefault(name, []).append(float(str(facts["cost_ms"])))
        await self._alone(rounds)
        for name, values in cost.items():
            _row(f"{name}: its queries in Postgres, ms", values)
        in_postgres = [sum(values) for values in zip(*cost.values(), strict=True)]
        _row("all reports: in Postgres, ms", in_postgres)
        _row("all reports: in the worker, ms", [a - b for a, b in zip(whole, in_postgres, strict=True)])
        _row("all reports: the worker's processor time, ms", worked)
        _row("all reports, ms", whole)
        self._costs = cost

    async def _alone(self, rounds: int) -> None:
        """The management report by itself, on a board and in sets of its own."""
        leaf = await self._company.leaf()
        only = {"management": self._refresher.reports["management"]}
        store = ReportStore(self._redis, tenant="alone")
        refresher = RefreshContext("alone", only, self._source, store, _ZONE)
        worked: list[float] = []
        for _ in range(rounds + 2):
            await self._company.check_in(leaf)
            processor = time.process_time()
            await refresh_board(refresher, refresher.boards["management"])
            worked.append((time.process_time() - processor) * 1000)
        _row("management alone: the worker's processor time, ms", worked[2:])

    async def memory(self) -> None:
        """The process that did it, generator included."""
        _row(
            "memory of this process at its highest, MB",
            [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024],
        )

    async def saved(self, rounds: int) -> None:
        """A replayed day against as many walks as there were views."""
        day = await self._working_day()
        told = replay(self._refresher.boards, day, self._costs)
        _assume(day, told)
        took = await self._works(rounds)
        installed = told.asked * took["question to the catalogue"]
        looks = (told.looks * took["look"] + installed) / 1000
        alone = told.refreshes["management"] * took["refresh of management alone"] / 1000
        whole = (
            sum(count * took[f"refresh of the board {board}"] for board, count in told.refreshes.items()) / 1000
        )
        walked = MANAGERS * MINUTES * took["walk"] / 1000
        _row("the day's looks at the database, s", [looks])
        _row("the day's refreshes, management alone, s", [alone])
        _row("the day's refreshes, all four reports, s", [whole])
        _row("the day's views, node by node, s", [walked])
        _row("database work saved, management against its own walks, %", [100 - 100 * (alone + looks) / walked])
        _row(
            "database work saved, all four reports against these walks, %", [100 - 100 * (whole + looks) / walked]
        )

    async def _works(self, rounds: int) -> dict[str, float]:
        """What each thing of the day costs the database, in ms of its processor time; triggers are installed.

        In turns, so that a spell in which the machine is slow falls upon all of them.
        """
        took: dict[str, list[float]] = {}
        async with Work(self._dsn) as work, Company(self._dsn) as company:
            outbox = await self._watched()
            watched = replace(self._refresher, outbox=outbox)
            only = {"management": watched.reports["management"]}
            alone = replace(watched, reports=only, store=ReportStore(self._redis, tenant="alone"))
            leaf, day = await company.leaf(), day_around(datetime.now(UTC), _ZONE)
            connection = await asyncpg.connect(self._dsn)
            refreshes = {
                f"refresh of the board {name}": (watched, board) for name, board in watched.boards.items()
            }
            refreshes["refresh of management alone"] = (alone, alone.boards["management"])
            for number in range(-_WARM, rounds):
                now = {"look": await _worked(work, outbox.probe_database, 100) / 100}
                question = partial(read_catalogue, connection.fetch, TENANT, watched.boards)
                now["question to the catalogue"] = await _worked(work, question, 10) / 10
                for name, what in refreshes.items():
                    await company.check_in(leaf)
                    now[name] = await _worked(work, partial(refresh_board, *what))
                if number >= 0:
                    now["walk"] = await _worked(work, partial(company.query_totals, day.start, day.end))
                    took = {name: [*took.get(name, []), value] for name, value in now.items()}
            await connection.close()
            await outbox.close()
        for name, values in took.items():
            _row(f"database work of one {name}, ms of processor time", values)
        return {name: median(values) for name, values in took.items()}

    async def _watched(self) -> Outbox:
        """A way to look at the database that knows of its triggers, and connections that Work may count."""
        await self._source.close()
        connection = await asyncpg.connect(self._dsn)
        boards = self._refresher.boards
        role = await connection.fetchval("SELECT current_user")
        await connection.execute(install_script(TENANT, boards, role=role))
        await connection.close()
        return Outbox(self._dsn, tenant=TENANT, boards=boards)

    async def _working_day(self) -> WorkingDay:
        """The latest weekday that is over, as the organisation's rows tell it."""
        last = datetime.now(_ZONE).date() - timedelta(days=1)
        while last.weekday() >= _SATURDAY:
            last -= timedelta(days=1)
        of_day = day_around(datetime(last.year, last.month, last.day, 12, tzinfo=_ZONE), _ZONE)
        connection = await asyncpg.connect(self._dsn)
        changes: dict[str, list[datetime]] = {}
        for table, column in _WRITTEN:
            found = await connection.fetch(_INSTANTS.format(table=table, column=column), of_day.start, of_day.end)
            changes.setdefault(table, []).extend(row["at"] for row in found)
        due = [row["at"] for row in await connection.fetch(_DUE, of_day.start, of_day.end)]
        await connection.close()
        return WorkingDay(of_day.start, of_day.end, changes, {"management": due, "workload": due})

    async def cold(self, rounds: int) -> None:
        """What a worker does that finds an empty Redis."""
        times = []
        for _ in range(rounds):
            await self._redis.flushall()
            began = time.perf_counter()
            for board in self._refresher.boards.values():
                await refresh_board(self._refresher, board)
            times.append((time.perf_counter() - began) * 1000)
        _row("empty Redis to all stored, ms", times)

    async def triggers(self, rounds: int) -> None:
        """Without, then with."""
        connection = await asyncpg.connect(self._dsn)
        boards = self._refresher.boards
        role = await connection.fetchval("SELECT current_user")
        single: dict[str, list[float]] = {"without": [], "with": []}
        many: dict[str, list[float]] = {"without": [], "with": []}
        for _ in range(min(3, rounds)):
            for way, alone in single.items():
                await connection.execute(install_script(TENANT, boards, role=role))
                if way == "without":
                    await connection.execute(uninstall_script(TENANT))
                alone.append(await self._one_writer(connection))
                many[way].append(await self._many_writers())
        await connection.close()
        for way, values in single.items():
            _row(f"a statement {way} triggers, in a transaction, ms", values)
        _row("trigger, a statement, ms", [b - a for a, b in zip(*single.values(), strict=True)])
        for way, values in many.items():
            _row(f"{WRITERS} writers {way} triggers, commits/s", values)
        _row("share that is left, %", [100 * b / a for a, b in zip(*many.values(), strict=True)])

    async def _one_writer(self, connection: Any) -> float:  # noqa: ANN401  asyncpg's
        statement = await connection.prepare(_TOUCH)
        async with connection.transaction():
            began = time.perf_counter()
            for number in range(1, 2_001):
                await statement.fetch(number)
            return (time.perf_counter() - began) / 2

    async def _many_writers(self) -> float:
        connections = [await asyncpg.connect(self._dsn) for _ in range(WRITERS)]
        ends = time.perf_counter() + WRITING_SECONDS

        async def write(number: int) -> int:
            done = 0
            statement = await connections[number].prepare(_TOUCH)
            while time.perf_counter() < ends:
                await statement.fetch(number * 1_000 + done % 1_000 + 1)
                done += 1
            return done

        commits = sum(await asyncio.gather(*(write(number) for number in range(WRITERS))))
        for connection in connections:
            await connection.close()
        return commits / WRITING_SECONDS

    async def living(self, rounds: int) -> None:
        """With triggers, a prober, and refreshes as they are asked for (without the queue in between)."""
        async with Producer.connect(self._url, tenant=TENANT, budget=2) as producer:
            prober = Prober(self._refresher, producer)
            leaf = await self._company.leaf()
            times = []
            for _ in range(rounds):
                await self._until_quiet(prober)
                before = await self._stored()
                await self._company.check_in(leaf)
                began = time.perf_counter()
                while (await self._stored())["as_of_us"] == before["as_of_us"]:
                    await self._turn(prober)
                times.append(time.perf_counter() - began)
            debounce = self._refresher.boards["management"].debounce.total_seconds()
            _row(f"write to readable with a debounce of {debounce:g} s, s", times)
            await self._idle(prober)

    async def _idle(self, prober: Prober) -> None:
        await self._until_quiet(prober)
        asked, ages = 0, []
        for _ in range(10):
            look = await prober.probe_once()
            asked += len(look.asked)
            await asyncio.sleep(1)
            ages.append(time.time() - (await self._stored())["verified_us"] / 1_000_000)
        _row("idle for 10 s: refreshes asked for", [float(asked)])
        _row("idle: age that readers see before each look, s", ages)

    async def _until_quiet(self, prober: Prober) -> None:
        """Until nothing is to be refreshed for as long as an idle stretch lasts here."""
        while True:
            await self._turn(prober)
            look = await prober.probe_once()
            if all(one.due - look.at > timedelta(seconds=12) for one in look.decisions.values()):
                return

    async def _turn(self, prober: Prober) -> tuple[str, ...]:
        """A look, and what it asks for; the next look as soon as the prober itself would take it."""
        look = await prober.probe_once()
        for name in look.asked:
            await refresh_board(self._refresher, self._refresher.boards[name])
        if not look.asked:
            waits = [one.due - look.at for one in look.decisions.values()]
            wait = min([timedelta(seconds=1), *(one for one in waits if one > timedelta(0))])
            await asyncio.sleep(wait.total_seconds())
        return look.asked

    async def _stored(self) -> dict[str, Any]:
        meta: dict[str, Any] = orjson.loads(
            await self._redis.hget(f"momentus:{{reports}}:snapshot:{TENANT}:management", "_meta")
        )
        return meta


async def _worked(work: Work, do: Callable[[], Awaitable[Any]], times: int = 1) -> float:
    """The database's work while something is done so many times."""
    await work.begin()
    for _ in range(times):
        await do()
    return await work.ms()


def _assume(day: WorkingDay, told: Replayed) -> None:
    """What the saving rests on."""
    for table, instants in day.changes.items():
        print(f"| assumed: changes of {table} on {day.start.astimezone(_ZONE):%A %d %B %Y} | {len(instants)} |")
    print(f"| assumed: views of {MANAGERS} managers, one a minute for {MINUTES // 60} h | {MANAGERS * MINUTES} |")
    for (board, why), count in sorted(told.reasons.items()):
        print(f"| replayed: refreshes of the board {board}, because: {why} | {count} |")
    print(f"| replayed: looks of the prober in 24 h | {told.looks} |", flush=True)


def _row(name: str, values: list[float]) -> None:
    spread = f" ({min(values):,.2f} to {max(values):,.2f})" if len(values) > 1 else ""
    print(f"| {name} | {median(values):,.2f}{spread} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
