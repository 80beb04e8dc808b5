"""What stored reports cost, and what they save.

    ./run bench reports [--rounds N] [--tenfold]
    ./run bench reports --nodes 700,7000,20000 [--parts check-in,living,bulk,chain] [--against FOLDER] [--rounds N]

A Postgres and a Valkey of its own, both embedded and durable, filled with the reference organisation: 700 nodes,
5,000 people, 480,000 check-ins, 40,000 blockers, 60,000 tasks; with ``--tenfold`` ten times as many of each. One
process with the worker's own code, all shipped reports. Medians of the rounds, smallest and largest beside them.

    refresh           of the whole, without triggers; in Postgres: the time of the report's own queries, by its
                      clock; in the worker: the rest, computing and storing included
    write to readable from the commit of a check-in to a stored set that holds it, with triggers, the prober
                      and the debounce
    saved             database time of a working day: ten managers who each look once a minute for 8 h and ask node
                      by node, against that day's refreshes and looks. Which refreshes are due is replayed: the
                      organisation's own rows of its latest full weekday say when tables were written to and for
                      which nodes, the prober's decisions (debounce, ceiling, budget, valid_until) what follows,
                      over 24 h, and the worker's own decisions what a refresh asks for: some nodes, the whole, or
                      each hour both. Looks, refreshes and walks each cost what they are measured to cost here in
                      processor time of Postgres, with triggers, all that a refresh does there included. A refresh
                      of some nodes costs what one node does, and for each further one a nineteenth of what twenty
                      cost more; a board costs the whole as soon as one of its reports does. To the refreshes
                      belong those at midnight and at one start of a worker, to the looks what the prober asks
                      twice a minute, which triggers there are
    idle              probes of a database in which nothing happens: queries of reports, and the age that readers
                      see
    triggers          an UPDATE of one row in a loop, and 16 writers for some seconds, with and without the
                      triggers
    cold              from an empty Redis to all reports stored

With ``--nodes`` organisations of these sizes, one after the other, with 50,000 people at most; everything with
triggers. One process refreshes as the worker does, another one the same reports without their queries for some
nodes, and with ``--against`` one of another checkout; after each write they take turns, on the same servers. Each
has its own tenant, and stops the measurement if it computes otherwise than it is there for.

    check-in          what a refresh of each board costs after a check-in at some leaf: processor time of its
                      process and of Postgres, documents written; the ratios are medians of the rounds' ratios.
                      Memory of these processes before and after their first refresh, and at the end
    living            write to readable and idle, as above; first the first write after a whole computation, whose
                      cost still sets the pace
    bulk              refreshes after an UPDATE of 500,000 check-ins, and after a subtree of some 3,000 nodes was
                      moved; what is stored then is compared with sets that a new process computes
    chain             2,000 nodes in a row: refreshes after a check-in at the last one, and after that check-in was
                      updated to itself, which writes no document

Times by the clock are those of the machine as it is; on a busy one only processor times can be compared.
"""

import argparse
import asyncio
import logging
import os
import resource
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from bench.reports_day.day_costs import MORE_WHOLE, DayCosts
from bench.reports_day.living import Living
from bench.reports_day.replay import Computed, Replayed, ReportCosts, Touch, WorkingDay, replay
from bench.reports_day.rows import print_row
from bench.reports_day.servers import ZONE, Servers, servers_with, size_of, told_size
from bench.reports_day.some_nodes import SomeNodes
from bench.reports_day.work_postgres import Work
from local.organisation import OrganisationSize
from reports import load_reports
from reports.boards import boards_of
from reports.day import day_around
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script, uninstall_script
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

TENANT = "default"
MANAGERS, MINUTES = 10, 8 * 60
WRITERS, WRITING_SECONDS = 16, 4.0
_PARTS = ("check-in", "living", "bulk", "chain")
_CHAIN, _LIVING_ROUNDS, _BULK_ROUNDS = 2_000, 15, 4
_TOUCH = "UPDATE organisation.tasks SET due_at = due_at WHERE id = $1"
_SATURDAY = 5
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
_INSTANTS = "SELECT {column} AS at, node_id FROM {table} WHERE {column} >= $1 AND {column} < $2"
_DUE = """
SELECT DISTINCT due_at + interval '1 microsecond' AS at, node_id FROM organisation.tasks
WHERE due_at >= $1 AND due_at < $2 AND created_at <= due_at AND (closed_at IS NULL OR closed_at > due_at)
ORDER BY 1
"""


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--rounds", type=int, default=7)
    it.add_argument("--tenfold", action="store_true")
    it.add_argument("--nodes", type=_numbers, default=[], help="sizes of the organisation, such as 700,7000")
    it.add_argument("--parts", default=",".join(_PARTS), help="which of them with --nodes")
    it.add_argument("--against", type=Path, help="checkout of an earlier build, for the part check-in")
    it.add_argument("--checkins", type=int, default=96, help="check-ins of each person with --nodes")
    asked = it.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians\n")
    await (_of_sizes(asked) if asked.nodes else _of_a_day(asked))
    print(f"\n- load average after: {os.getloadavg()[0]:.2f}")


async def _of_a_day(asked: argparse.Namespace) -> None:
    whole, times = OrganisationSize(), 10 if asked.tenfold else 1
    names = ("nodes", "employees", "memberships", "tasks", "checkins", "blockers")
    size = OrganisationSize(**{name: getattr(whole, name) * times for name in names})
    print("| figure | measured |\n|---|---|")
    async with servers_with(size) as servers, Redis.from_url(servers.url) as redis:
        bench = Bench(servers, redis)
        try:
            await bench.refresh(asked.rounds)
            await bench.memory()
            await bench.saved(asked.rounds)
            await bench.cold(asked.rounds)
            await bench.triggers(asked.rounds)
            await bench.living(asked.rounds)
        finally:
            await bench.close()


async def _of_sizes(asked: argparse.Namespace) -> None:
    parts = asked.parts.split(",")
    if unknown := sorted(set(parts).difference(_PARTS)):
        raise SystemExit(f"--parts: {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    against = asked.against.resolve() if asked.against else None
    for nodes in asked.nodes if set(parts) != {"chain"} else []:
        size = size_of(nodes, checkins_each=asked.checkins)
        print(f"\n{told_size(size)}\n\n| figure | measured |\n|---|---|", flush=True)
        async with servers_with(size) as servers:
            some = SomeNodes(servers, against)
            if "check-in" in parts:
                await some.check_in(asked.rounds)
            if "living" in parts:
                await some.living(min(asked.rounds, _LIVING_ROUNDS))
            if "bulk" in parts:
                await some.bulk(min(asked.rounds, _BULK_ROUNDS))
    if "chain" in parts:
        size = size_of(_CHAIN, checkins_each=asked.checkins)
        print(f"\nA chain: {told_size(size)}\n\n| figure | measured |\n|---|---|", flush=True)
        async with servers_with(size) as servers:
            await SomeNodes(servers, None).chain(asked.rounds)


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


class Bench:
    """One figure after another, each a row of a table."""

    def __init__(self, servers: Servers, redis: Any) -> None:  # noqa: ANN401  redis-py types one client two ways
        self._dsn, self._url, self._company, self._redis = servers.dsn, servers.url, servers.company, redis
        reports = load_reports()
        self._source = Source(self._dsn, statement_timeout=timedelta(minutes=1))
        self._outbox = Outbox(self._dsn, tenant=TENANT, boards=boards_of(reports))
        store = ReportStore(redis, tenant=TENANT)
        self._refresher = RefreshContext(TENANT, reports, self._source, store, ZONE, self._outbox)
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
            print_row(f"{name}: its queries in Postgres, ms", values)
        in_postgres = [sum(values) for values in zip(*cost.values(), strict=True)]
        print_row("all reports: in Postgres, ms", in_postgres)
        print_row("all reports: in the worker, ms", [a - b for a, b in zip(whole, in_postgres, strict=True)])
        print_row("all reports: the worker's processor time, ms", worked)
        print_row("all reports, ms", whole)
        self._costs = cost

    async def _alone(self, rounds: int) -> None:
        """The management report by itself, on a board and in sets of its own."""
        leaf = await self._company.leaf()
        only = {"management": self._refresher.reports["management"]}
        store = ReportStore(self._redis, tenant="alone")
        refresher = RefreshContext("alone", only, self._source, store, ZONE)
        worked: list[float] = []
        for _ in range(rounds + 2):
            await self._company.check_in(leaf)
            processor = time.process_time()
            await refresh_board(refresher, refresher.boards["management"])
            worked.append((time.process_time() - processor) * 1000)
        print_row("management alone: the worker's processor time, ms", worked[2:])

    async def memory(self) -> None:
        """The process that did it, generator included."""
        print_row(
            "memory of this process at its highest, MB",
            [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024],
        )

    async def saved(self, rounds: int) -> None:
        """A replayed day against as many walks as there were views."""
        day = await self._working_day()
        async with Work(self._dsn) as work, DayCosts(self._dsn, self._redis, work) as costs:
            await costs.measure(rounds)
            of_refresh = {name: ReportCosts(costs.queries_ms[name], whole) for name, whole in self._costs.items()}
        boards, alone = costs.boards, costs.alone
        told, told_alone = replay(boards, day, of_refresh), replay(alone, day, of_refresh)
        _assume(day, told)
        looks = _looks_ms(told, costs) / 1000
        spent = {
            "management alone": sum(costs.refreshes_ms(told_alone, board, alone=True) for board in alone) / 1000,
            "all four reports": sum(costs.refreshes_ms(told, board) for board in boards) / 1000,
        }
        walked = MANAGERS * MINUTES * costs.ms["walk"] / 1000
        print_row("the day's looks at the database, s", [looks])
        for what, seconds in spent.items():
            print_row(f"the day's refreshes, {what}, s", [seconds])
        print_row("the day's views, node by node, s", [walked])
        for what, walks in {"management alone": "its own", "all four reports": "these"}.items():
            saved = 100 - 100 * (spent[what] + looks) / walked
            print_row(f"database work saved, {what} against {walks} walks, %", [saved])

    async def _working_day(self) -> WorkingDay:
        """The latest weekday that is over, as the organisation's rows tell it."""
        last = datetime.now(ZONE).date() - timedelta(days=1)
        while last.weekday() >= _SATURDAY:
            last -= timedelta(days=1)
        of_day = day_around(datetime(last.year, last.month, last.day, 12, tzinfo=ZONE), ZONE)
        between = of_day.start, of_day.end
        connection = await asyncpg.connect(self._dsn)
        changes: dict[str, list[Touch]] = {}
        for table, column in _WRITTEN:
            found = await connection.fetch(_INSTANTS.format(table=table, column=column), *between)
            changes.setdefault(table, []).extend(Touch(*row) for row in found)
        due = [Touch(*row) for row in await connection.fetch(_DUE, *between)]
        await connection.close()
        async with self._source.snapshot() as snapshot:
            tree = await snapshot.tree(self._refresher.reports["management"])
        return WorkingDay(*between, tree, changes, {"management": due, "workload": due})

    async def cold(self, rounds: int) -> None:
        """What a worker does that finds an empty Redis."""
        times = []
        for _ in range(rounds):
            await self._redis.flushall()
            began = time.perf_counter()
            for board in self._refresher.boards.values():
                await refresh_board(self._refresher, board)
            times.append((time.perf_counter() - began) * 1000)
        print_row("empty Redis to all stored, ms", times)

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
            print_row(f"a statement {way} triggers, in a transaction, ms", values)
        print_row("trigger, a statement, ms", [b - a for a, b in zip(*single.values(), strict=True)])
        for way, values in many.items():
            print_row(f"{WRITERS} writers {way} triggers, commits/s", values)
        print_row("share that is left, %", [100 * b / a for a, b in zip(*many.values(), strict=True)])

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
        """With triggers; see `living.py`."""
        await Living(self._refresher, self._url, self._redis, self._company).measure(rounds)


def _looks_ms(told: Replayed, costs: DayCosts) -> float:
    return told.looks * costs.ms["look"] + told.asked * costs.ms["question to the catalogue"]


def _assume(day: WorkingDay, told: Replayed) -> None:
    """What the saving rests on."""
    for table, touches in day.changes.items():
        print(f"| assumed: changes of {table} on {day.start.astimezone(ZONE):%A %d %B %Y} | {len(touches)} |")
    print(f"| assumed: views of {MANAGERS} managers, one a minute for {MINUTES // 60} h | {MANAGERS * MINUTES} |")
    print(f"| assumed: whole computations of each board at midnight and at a worker's start | {MORE_WHOLE} |")
    for (board, why), count in sorted(told.reasons.items()):
        print(f"| replayed: refreshes of the board {board}, because: {why} | {count} |")
    for (board, computed), count in sorted(told.computed.items()):
        print(f"| replayed: refreshes of the board {board} that ask for: {computed} | {count} |")
    for board, count in sorted(told.nodes.items()):
        mean = count / told.computed[board, Computed.NODES]
        print(f"| replayed: nodes of a refresh of the board {board} that asks for some, mean | {mean:.2f} |")
    for (report, why), count in sorted(told.whole.items()):
        print(f"| replayed: whole computations of {report}, because: {why} | {count} |")
    print(f"| replayed: looks of the prober in 24 h | {told.looks} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
