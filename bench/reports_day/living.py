"""How long a written row takes until it can be read, and what an idle database is asked."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import orjson

from bench.reports_day.rows import print_row
from local.demo.company_postgres import Company
from producers import Producer
from reports.cost import KEPT
from worker.reports.prober import Prober
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

_QUIET = timedelta(seconds=12)


class Living:
    """Triggers, a prober, and refreshes as they are asked for, without the queue in between.

    Args:
        url: Redis of the producer.
        company: to check in.
    """

    def __init__(self, refresher: RefreshContext, url: str, redis: Any, company: Company) -> None:  # noqa: ANN401  redis-py types one client two ways
        self._refresher, self._url, self._redis, self._company = refresher, url, redis, company

    async def measure(self, rounds: int) -> None:
        """Print the figures; the tenant's triggers are installed."""
        async with Producer.connect(self._url, tenant=self._refresher.tenant, budget=2) as producer:
            prober = Prober(self._refresher, producer)
            debounce = self._refresher.boards["management"].debounce.total_seconds()
            times = [await self._write_to_readable(prober) for _ in range(rounds)]
            computed = (await self._stored())["computed"]
            print_row(f"write to readable with a debounce of {debounce:g} s ({computed}), s", times)
            await self._idle(prober)

    async def settle(self) -> None:
        """Refresh until no whole computation weighs on the pace: none among the latest costs, and none to pay off.

        The first one is printed: how long a write waits while it does.
        """
        async with Producer.connect(self._url, tenant=self._refresher.tenant, budget=2) as producer:
            first = await self._write_to_readable(Prober(self._refresher, producer))
        print_row("write to readable, the first after a whole computation, s", [first])
        leaf = await self._company.leaf()
        for _ in range(KEPT):
            await self._company.check_in(leaf)
            for board in self._refresher.boards.values():
                await refresh_board(self._refresher, board)
        rests = [
            (await self._stored(name))["debt_ms"] / 1000 / report.max_db_share
            for name, report in self._refresher.reports.items()
        ]
        await asyncio.sleep(max(rests))

    async def _write_to_readable(self, prober: Prober) -> float:
        """Return the seconds from a commit to the stored set."""
        await self._until_quiet(prober)
        before = await self._stored()
        await self._company.check_in(await self._company.leaf())
        began = time.perf_counter()
        while (await self._stored())["as_of_us"] == before["as_of_us"]:
            await self._turn(prober)
        return time.perf_counter() - began

    async def _idle(self, prober: Prober) -> None:
        await self._until_quiet(prober)
        asked, ages = 0, []
        for _ in range(10):
            look = await prober.probe_once()
            asked += len(look.asked)
            await asyncio.sleep(1)
            ages.append(time.time() - (await self._stored())["verified_us"] / 1_000_000)
        print_row("idle for 10 s: refreshes asked for", [float(asked)])
        print_row("idle: age that readers see before each look, s", ages)

    async def _until_quiet(self, prober: Prober) -> None:
        """Until nothing is to be refreshed for as long as an idle stretch lasts here."""
        while True:
            await self._turn(prober)
            look = await prober.probe_once()
            if all(one.due - look.at > _QUIET for one in look.decisions.values()):
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

    async def _stored(self, report: str = "management") -> dict[str, Any]:
        key = f"momentus:{{reports}}:snapshot:{self._refresher.tenant}:{report}"
        meta: dict[str, Any] = orjson.loads(await self._redis.hget(key, "_meta"))
        return meta
