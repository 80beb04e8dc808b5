"""What a refresh of some nodes costs beside one of all, in organisations of several sizes.

Each way is a process of its own (`refresher.py`) with its own tenant and triggers, on the same servers. They take
turns after each write, so that a spell in which the machine is slow falls upon all.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import asyncpg
from redis.asyncio import Redis

from bench.reports_day.living import Living
from bench.reports_day.refreshing_process import RefreshingProcess, refreshing_process
from bench.reports_day.rows import print_row
from bench.reports_day.servers import ZONE, Servers
from bench.reports_day.work_postgres import Work
from reports import load_reports
from reports.boards import boards_of
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script, uninstall_script
from worker.reports.refresh_context import RefreshContext

_BOARDS = ("activity", "management")
_SOME, _WHOLE, _FORMER, _FRESH = "some nodes", "the whole", "the former build", "anew"
_COMPUTED = {_SOME: {"nodes"}, _WHOLE: {"declared"}, _FORMER: {"former"}}
"""How each way computes reports after its first refresh."""
_WARM = 6
"""Rounds after which the server has settled on the plans of its statements."""
_BULK = 500_000
_SUBTREE = 3_000
_LEAVES = """
SELECT id FROM organisation.nodes AS node
WHERE NOT EXISTS (SELECT FROM organisation.nodes AS child WHERE child.parent_id = node.id)
ORDER BY id
"""
_BULK_UPDATE = """
UPDATE organisation.checkins SET at = at - interval '1 second'
WHERE id IN (SELECT id FROM organisation.checkins ORDER BY id LIMIT $1)
"""
_MOVE = "UPDATE organisation.nodes SET parent_id = $2 WHERE id = $1"
_CHAIN = """
WITH ordered AS (SELECT id, lag(id) OVER (ORDER BY id) AS above FROM organisation.nodes)
UPDATE organisation.nodes SET parent_id = above FROM ordered WHERE ordered.id = nodes.id
"""
_ITSELF = """
UPDATE organisation.checkins SET at = at WHERE id = (SELECT max(id) FROM organisation.checkins)
"""

Ways = Mapping[str, RefreshingProcess]


@dataclass(slots=True)
class Seen:
    """What refreshes of one board by one way came to, by round.

    Attributes:
        worker: processor ms of the refreshing process.
        postgres: processor ms of the database.
        clock: ms by the clock.
        written: documents.
    """

    worker: list[float] = field(default_factory=list)
    postgres: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)


class Move(NamedTuple):
    """Subtree that is moved.

    Attributes:
        places: its parents in turn; the second is the one it has.
        nodes: their number.
    """

    node: int
    places: tuple[int, int]
    nodes: int


class SomeNodes:
    """One figure after another of an organisation, each a row of a table.

    Args:
        former: checkout of an earlier build to measure beside this one; None for none.
    """

    def __init__(self, servers: Servers, former: Path | None) -> None:
        self._servers, self._former = servers, former

    async def check_in(self, rounds: int) -> None:
        """Measure the refreshes after one check-in, and the memory of the processes."""
        async with Work(self._servers.dsn) as work, self._connection() as connection:
            leaves = [row["id"] for row in await connection.fetch(_LEAVES)]
            async with self._ways(former=self._former) as ways:
                before = {way: (await process.ask("memory"))["now"] for way, process in ways.items()}
                await self._refresh_first(ways, before)
                random = Random(1)  # noqa: S311  which nodes
                await self._rounds(
                    work, ways, [random.choice(leaves) for _ in range(_WARM + rounds)], "a check-in"
                )
                for way, process in ways.items():
                    memory = await process.ask("memory")
                    print_row(f"memory of the process at the end, {way}, MB", [memory["now"]])
                    print_row(f"memory of the process at its highest, {way}, MB", [memory["peak"]])

    async def _refresh_first(self, ways: Ways, before: Mapping[str, float]) -> None:
        for way, process in ways.items():
            for board in _BOARDS:
                await process.ask("refresh", board=board)
            after = await process.ask("memory")
            print_row(f"memory of the process before any refresh, {way}, MB", [before[way]])
            print_row(f"memory of the process after the first refresh, {way}, MB", [after["now"]])

    async def _rounds(self, work: Work, ways: Ways, nodes: Sequence[int], after: str) -> None:
        """Check in at one node after the other, and print what the refreshes of each way and board cost."""
        seen: dict[tuple[str, str], Seen] = defaultdict(Seen)
        for number, node in enumerate(nodes):
            await self._servers.company.check_in(node)
            await _turn(work, ways, number, seen if number >= _WARM else defaultdict(Seen))
        for board in _BOARDS:
            _print_board(board, {way: seen[way, board] for way in ways}, after)

    async def bulk(self, rounds: int) -> None:
        """Measure the refresh after a statement of many rows, and after a move of a large subtree."""
        async with Work(self._servers.dsn) as work, self._connection() as connection, self._ways() as ways:
            rows = min(_BULK, await connection.fetchval("SELECT count(*) FROM organisation.checkins"))
            update = partial(connection.execute, _BULK_UPDATE, _BULK)
            await self._after(work, ways, [update] * rounds, f"an UPDATE of {rows:,} check-ins")
            move = await _find_move(connection)
            moves = [partial(connection.execute, _MOVE, move.node, place) for place in move.places]
            await self._after(work, ways, (moves * rounds)[:rounds], f"a move of {move.nodes:,} nodes")

    async def _refresh_twice(self, ways: Ways) -> None:
        """Until there is a kept set, and connections whose work can be counted."""
        for _ in range(2):
            for process in ways.values():
                for board in _BOARDS:
                    await process.ask("refresh", board=board)

    async def _after(
        self, work: Work, ways: Ways, writes: Sequence[Callable[[], Awaitable[Any]]], what: str
    ) -> None:
        """Measure the refresh after each of these writes, and compare what is stored after the last."""
        seen: dict[tuple[str, str], Seen] = defaultdict(Seen)
        computed: dict[tuple[str, str], set[str]] = defaultdict(set)
        took = []
        await self._refresh_twice(ways)
        for number, write in enumerate(writes):
            began = time.perf_counter()
            await write()
            took.append((time.perf_counter() - began) * 1000)
            for key, how in (await _turn(work, ways, number, seen, checked=False)).items():
                computed[key] |= how
        print_row(f"{what}: the statement itself, with the triggers of two tenants, ms", took)
        for (way, board), one in sorted(seen.items(), key=lambda item: item[0][::-1]):
            why = ", ".join(sorted(computed[way, board]))
            print_row(f"after {what}: {board}, {way} ({why}), the worker's processor time, ms", one.worker)
            print_row(f"after {what}: {board}, {way}, Postgres's processor time, ms", one.postgres)
            print_row(f"after {what}: {board}, {way}, ms", one.clock)
            print_row(f"after {what}: {board}, {way}, documents written", one.written)
        await self._require_same(ways, what)

    async def _require_same(self, ways: Ways, what: str) -> None:
        """Compare what each way stored with what a new process computes. Raises SystemExit."""
        async with refreshing_process(self._servers.dsn, self._servers.url, _FRESH, way="whole") as fresh:
            for board in _BOARDS:
                await fresh.ask("refresh", board=board)
            etags = await fresh.ask("etags")
        for way, process in ways.items():
            stored = await process.ask("etags")
            if differing := sorted(name for name, digest in etags.items() if stored[name] != digest):
                raise SystemExit(f"after {what}, {way}: {', '.join(differing)} differ from what is computed anew")
        print(f"| after {what}: all ETags are those of sets that are computed anew | yes |", flush=True)

    async def chain(self, rounds: int) -> None:
        """Measure check-ins at the end of all nodes in a row, and a row that was updated to itself."""
        async with Work(self._servers.dsn) as work, self._connection() as connection:
            await connection.execute(_CHAIN)
            last = await connection.fetchval("SELECT max(id) FROM organisation.nodes")
            async with self._ways() as ways:
                await self._rounds(work, ways, [last] * (_WARM + rounds), "a check-in at the end of the chain")
                seen: dict[tuple[str, str], Seen] = defaultdict(Seen)
                for number in range(rounds):
                    await connection.execute(_ITSELF)
                    await _turn(work, ways, number, seen)
                for board in _BOARDS:
                    found = {way: seen[way, board] for way in ways}
                    _print_board(board, found, "an UPDATE of that check-in to itself")
                if any(sum(one.written) for one in seen.values()):
                    raise SystemExit("a row that was updated to itself made documents be written")
                await self._require_same(ways, "it")

    async def living(self, rounds: int) -> None:
        """Measure write to readable; see `living.py`."""
        reports = load_reports()
        boards, tenant = boards_of(reports), "living"
        async with self._connection() as connection, Redis.from_url(self._servers.url) as redis:
            role = await connection.fetchval("SELECT current_user")
            await connection.execute(install_script(tenant, boards, role=role))
            source = Source(self._servers.dsn, statement_timeout=timedelta(minutes=5))
            outbox = Outbox(self._servers.dsn, tenant=tenant, boards=boards)
            refresher = RefreshContext(tenant, reports, source, ReportStore(redis, tenant=tenant), ZONE, outbox)
            living = Living(refresher, self._servers.url, redis, self._servers.company)
            await living.settle()
            await living.measure(rounds)
            await outbox.close()
            await source.close()
            await connection.execute(uninstall_script(tenant))

    @asynccontextmanager
    async def _ways(self, former: Path | None = None) -> AsyncIterator[Ways]:
        async with AsyncExitStack() as stack:
            where = self._servers.dsn, self._servers.url
            ways = {}
            if former is not None:
                one = refreshing_process(*where, "former", way="some", checkout=former)
                ways[_FORMER] = await stack.enter_async_context(one)
            ways[_WHOLE] = await stack.enter_async_context(refreshing_process(*where, "whole", way="whole"))
            ways[_SOME] = await stack.enter_async_context(refreshing_process(*where, "some", way="some"))
            yield ways

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self._servers.dsn)
        try:
            yield connection
        finally:
            await connection.close()


async def _turn(
    work: Work, ways: Ways, number: int, seen: dict[tuple[str, str], Seen], *, checked: bool = True
) -> dict[tuple[str, str], set[str]]:
    """Let each way refresh each board, beginning with another way each time. Returns how each was computed.

    Raises:
        SystemExit: a way computed otherwise than it is there for.
    """
    names = list(ways)
    found = {}
    for way in names[number % len(names) :] + names[: number % len(names)]:
        for board in _BOARDS:
            await work.begin()
            answer = await ways[way].ask("refresh", board=board)
            one = seen[way, board]
            one.postgres.append(await work.ms())
            one.worker.append(answer["cpu_ms"])
            one.clock.append(answer["ms"])
            one.written.append(answer["written"])
            found[way, board] = set(answer["computed"].values())
            if checked and number >= _WARM and found[way, board] != _COMPUTED[way]:
                raise SystemExit(f"{way}: the board {board} was computed as {found[way, board]}; measure again")
    return found


def _print_board(board: str, seen: Mapping[str, Seen], after: str) -> None:
    for way, one in seen.items():
        print_row(f"after {after}: {board}, {way}, the worker's processor time, ms", one.worker)
        print_row(f"after {after}: {board}, {way}, Postgres's processor time, ms", one.postgres)
        print_row(f"after {after}: {board}, {way}, documents written", one.written)
    some = seen[_SOME]
    for way, one in seen.items():
        if way != _SOME:
            worker = [a / b for a, b in zip(one.worker, some.worker, strict=True)]
            postgres = [a / b for a, b in zip(one.postgres, some.postgres, strict=True)]
            print_row(f"after {after}: {board}, {way} / some nodes, worker, times", worker)
            print_row(f"after {after}: {board}, {way} / some nodes, Postgres, times", postgres)


async def _find_move(connection: Any) -> Move:  # noqa: ANN401  asyncpg's
    """Find a subtree of some 3,000 nodes, or a quarter of a smaller tree, and another place for it."""
    found = await connection.fetch("SELECT id, parent_id FROM organisation.nodes")
    parents = {row["id"]: row["parent_id"] for row in found}
    below: dict[int, set[int]] = {node: set() for node in parents}
    for node in parents:
        above: int | None = node
        while above is not None:
            below[above].add(node)
            above = parents[above]
    wanted = min(_SUBTREE, len(parents) // 4)
    moved = min((node for node in parents if parents[node]), key=lambda node: abs(len(below[node]) - wanted))
    target = next(node for node in sorted(parents) if node not in below[moved] and node != parents[moved])
    return Move(moved, (target, parents[moved]), len(below[moved]))
