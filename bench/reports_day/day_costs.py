"""What each thing of a replayed day costs the database, in ms of its processor time."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from statistics import median
from typing import Any, Self

import asyncpg

from bench.reports_day.replay import Computed, Replayed
from bench.reports_day.rows import print_row
from bench.reports_day.servers import ZONE
from bench.reports_day.work_postgres import Work
from local.demo.company_postgres import Company
from reports import Report, load_reports
from reports.boards import Board, boards_of
from reports.catalogue_postgres import read_catalogue
from reports.day import day_around
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script, uninstall_script
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

MORE_WHOLE = 2
"""Whole computations of a board that a replayed day does not have: at midnight, and at one start of a worker."""
_WARM = 6
"""Rounds after which the server has settled on the plans of its statements."""
_WALKS = 3
_MANY = 20
"""Nodes of a refresh that shows what each further node costs."""
_SOME, _MORE = "one node", f"{_MANY} nodes"


class DayCosts:
    """Costs of a day. Use it as an async context, within the `Work` that counts its connections.

    Attributes:
        ms: processor time of the database for each thing, the median.
        queries_ms: execution time of each report's own queries for one node, by round.
    """

    def __init__(self, dsn: str, redis: Any, work: Work) -> None:  # noqa: ANN401  redis-py types one client two ways
        self._dsn, self._redis, self._work = dsn, redis, work
        reports = load_reports()
        alone = {"management": reports["management"]}
        self._reports: Mapping[str, Mapping[str, Report]] = {"": reports, " alone": alone}
        self.boards: Mapping[str, Board] = boards_of(self._reports[""])
        self.alone: Mapping[str, Board] = boards_of(self._reports[" alone"])
        self.ms: dict[str, float] = {}
        self.queries_ms: dict[str, list[float]] = {}
        self._ways: list[tuple[str, RefreshContext, bool]] = []
        self._took: dict[str, list[float]] = {}

    async def __aenter__(self) -> Self:
        for name, reports in self._reports.items():
            whole = {one: replace(report, sql_of_nodes="") for one, report in reports.items()}
            for is_whole, of_way in enumerate((reports, whole)):
                refresher = await self._watched(f"day{len(self._ways)}", of_way)
                self._ways.append((name, refresher, bool(is_whole)))
        self._company = await Company(self._dsn).__aenter__()
        self._connection: Any = await asyncpg.connect(self._dsn)
        return self

    async def __aexit__(self, *_: object) -> None:
        for refresher in (way[1] for way in self._ways):
            await refresher.source.close()
            if refresher.outbox is not None:
                await refresher.outbox.close()
            await self._connection.execute(uninstall_script(refresher.tenant))
        await self._connection.close()
        await self._company.__aexit__()

    async def _watched(self, tenant: str, reports: Mapping[str, Report]) -> RefreshContext:
        """Return reports of a tenant of their own, whose triggers are installed."""
        boards = boards_of(reports)
        connection = await asyncpg.connect(self._dsn)
        role = await connection.fetchval("SELECT current_user")
        await connection.execute(install_script(tenant, boards, role=role))
        await connection.close()
        source = Source(self._dsn, statement_timeout=timedelta(minutes=1))
        store = ReportStore(self._redis, tenant=tenant)
        return RefreshContext(
            tenant, reports, source, store, ZONE, Outbox(self._dsn, tenant=tenant, boards=boards)
        )

    async def measure(self, rounds: int) -> None:
        """Measure in turns, so that a spell in which the machine is slow falls upon all."""
        nodes = await self._company.nodes()
        random = Random(1)  # noqa: S311  which nodes
        for number in range(-_WARM, rounds):
            if number == 0:
                self._took.clear()
                self.queries_ms.clear()
            await self._look()
            await self._company.check_in(random.choice(nodes))
            await self._refresh_all(_SOME, with_whole=True)
            for node in random.sample(nodes, _MANY):
                await self._company.check_in(node)
            await self._refresh_all(_MORE)
            await self._company.check_in(random.choice(nodes))
            await self._refresh_all(Computed.COMPARED, every=timedelta(0))
            if 0 <= number < _WALKS:
                await self._walk()
        for name, values in self._took.items():
            print_row(f"database work of one {name}, ms of processor time", values)
        self.ms = {name: median(values) for name, values in self._took.items()}

    def refreshes_ms(self, told: Replayed, board: str, *, alone: bool = False) -> float:
        """Return what the refreshes of a board took in a day, midnight and a worker's start included."""
        some, more, whole, compared = (
            self.ms[_refresh_of(board, computed, " alone" if alone else "")]
            for computed in (_SOME, _MORE, Computed.WHOLE, Computed.COMPARED)
        )
        counts = {computed: told.computed[board, computed] for computed in Computed}
        further = max(0, told.nodes[board] - counts[Computed.NODES])
        return (
            counts[Computed.NODES] * some
            + further * max(0.0, more - some) / (_MANY - 1)
            + (counts[Computed.WHOLE] + MORE_WHOLE) * whole
            + counts[Computed.COMPARED] * compared
        )

    async def _look(self) -> None:
        refresher = self._ways[0][1]
        if refresher.outbox is not None:
            await self._note("look", refresher.outbox.probe_database, 100)
        question = partial(read_catalogue, self._connection.fetch, refresher.tenant, refresher.boards)
        await self._note("question to the catalogue", question, 10)

    async def _refresh_all(
        self, computed: str, *, with_whole: bool = False, every: timedelta | None = None
    ) -> None:
        for name, refresher, is_whole in self._ways:
            if is_whole and not with_whole:
                continue
            one = refresher if every is None else replace(refresher, whole_every=every)
            for board in refresher.boards.values():
                what = _refresh_of(board.name, Computed.WHOLE if is_whole else computed, name)
                outcome = await self._note(what, partial(refresh_board, one, board))
                if outcome.failed:
                    raise SystemExit(f"the board {board.name} failed: {outcome.failed}")
                if computed == _SOME and not is_whole and not name:
                    for report, facts in outcome.reports.items():
                        self.queries_ms.setdefault(report, []).append(float(facts["cost_ms"]))
                expected = {"declared"} if is_whole else {"nodes"} if every is None else {"compared"}
                self._require(what, {facts["computed"] for facts in outcome.reports.values()}, expected)

    def _require(self, what: str, found: set[object], expected: set[str]) -> None:
        """Raise SystemExit if a refresh was computed otherwise than it is there for, once all are warm."""
        if len(self._took[what]) > 1 and found != expected:
            raise SystemExit(f"{what} was computed as {found}; measure again")

    async def _walk(self) -> None:
        day = day_around(datetime.now(UTC), ZONE)
        await self._note("walk", partial(self._company.query_totals, day.start, day.end))

    async def _note(self, what: str, do: Callable[[], Awaitable[Any]], times: int = 1) -> Any:  # noqa: ANN401  what it returns
        """Note the database's work while something is done so many times."""
        await self._work.begin()
        for _ in range(times):
            done = await do()
        self._took.setdefault(what, []).append(await self._work.ms() / times)
        return done


def _refresh_of(board: str, computed: str, name: str) -> str:
    return f"refresh of the board {board}{name}, {computed}"
