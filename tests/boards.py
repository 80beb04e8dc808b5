"""Boards for tests: a small shop whose reports are refreshed from a real Postgres into a real Valkey."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson
from redis.asyncio import Redis

from producers import Producer
from reports import Report, load_reports
from reports.boards import boards_of
from reports.keys import snapshot
from reports.outbox_postgres import Outbox
from reports.pace import Decision
from reports.source_postgres import Source
from reports.store import ReportStore
from reports.triggers import install_script
from worker.engine import TryLater
from worker.reports.prober import Prober
from worker.reports.refresh import refresh_board
from worker.reports.refresh_context import RefreshContext

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.nodes (id bigint PRIMARY KEY, parent_id bigint, name text, kind text);
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY, node_id bigint, amount bigint, at timestamptz);
INSERT INTO shop.nodes VALUES (1, NULL, 'all', 'shop'), (2, 1, 'north', 'shop'), (3, 1, 'south', 'shop');
"""
ORDER = "INSERT INTO shop.orders (node_id, amount, at) VALUES ($1, $2, coalesce($3, now()))"
_FORM = load_reports()["management"]


def report(name: str = "sales", **changes: Any) -> Report:
    """The sum of all orders of a node and below; all that is not changed."""
    declared: dict[str, Any] = {
        "name": name,
        "board": "shop",
        "sql": "SELECT node_id, sum(amount) AS amount FROM shop.orders WHERE at <= $1 GROUP BY node_id",
        "parameters": ("now",),
        "tree": "SELECT id, parent_id, name, kind FROM shop.nodes",
        "scope": "node_id",
        "rollup": {"amount": "sum"},
        "sources": ("shop.nodes", "shop.orders"),
        "debounce": timedelta(0),
        "max_wait": timedelta(0),
        "max_db_share": 1.0,
        "next_midnight": False,
        "valid_until": "",
        "valid_until_parameters": (),
        "valid_until_column": "",
        "keep": timedelta(0),
    }
    return replace(_FORM, **(declared | changes))


@dataclass(frozen=True, slots=True)
class Shop:
    """A database, a Redis, and a refresher and a prober between them."""

    dsn: str
    database: "asyncpg.Connection[asyncpg.Record]"
    redis: Redis
    refresher: RefreshContext
    prober: Prober

    async def install(self) -> None:
        """Have the database mark what changes."""
        tenant, boards = self.refresher.tenant, self.refresher.boards
        role = await self.database.fetchval("SELECT current_user")
        await self.database.execute(install_script(tenant, boards, role=role))

    async def order(self, amount: int, *, node: int | None = 2, at: Any = None) -> int:
        """One more order; the number of its transaction."""
        async with self.database.transaction():
            await self.database.execute(ORDER, node, amount, at)
            return int(await self.database.fetchval("SELECT pg_current_xact_id()::text::bigint"))

    async def field(self, field: str, name: str = "sales") -> Any:
        """A field of what is stored, read from JSON."""
        value = await self.redis.hget(snapshot(self.refresher.tenant, name), field)
        return None if value is None else orjson.loads(value)

    async def total(self, name: str = "sales", node: int = 1) -> int:
        """What the stored document of a node says."""
        return int((await self.field(str(node), name))["data"]["total"]["amount"])

    async def rest_ends(self, name: str = "sales") -> None:
        """Let the rest after a failure be over: the next refresh tries again."""
        error = await self.field("_error", name)
        over = orjson.dumps(error | {"again_us": error["at_us"]}).decode()
        await self.redis.hset(snapshot(self.refresher.tenant, name), "_error", over)

    async def proved(self, *names: str, board: str = "shop") -> Decision | None:
        """The next decision, once it calls these reports proved: `await eventually(it.proved)`.

        A transaction of the server itself, like its cleaning, may put that off for a moment.
        """
        decision = (await self.prober.probe_once()).decisions[board]
        return decision if sorted(decision.proved) == sorted(names or ("sales",)) else None

    async def proof(self, board: str = "shop") -> str:
        """How the database proves a board now, and why not by marks."""
        assert self.refresher.outbox is not None
        self.refresher.outbox.forget_catalogue()
        found = (await self.refresher.outbox.catalogue()).proof(board)
        return ": ".join([found.kind, *found.why])

    async def meta(self, name: str = "sales") -> Mapping[str, Any]:
        """What is stored of the whole report."""
        return dict(await self.field("_meta", name))


@asynccontextmanager
async def shop(
    dsn: str, url: str, *reports: Report, tenant: str = "default", zone: str = "UTC"
) -> AsyncIterator[Shop]:
    """With tables, if the database has none yet."""
    declared = {one.name: one for one in reports or (report(),)}
    source = Source(dsn, statement_timeout=timedelta(seconds=10), connections=4)
    outbox = Outbox(dsn, tenant=tenant, boards=boards_of(declared))
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval("SELECT to_regnamespace('shop')"):
            await connection.execute(SCHEMA)
        async with Redis.from_url(url) as redis, Producer.connect(url, tenant=tenant, budget=5) as producer:
            store = ReportStore(redis, tenant=tenant)
            refresher = RefreshContext(tenant, declared, source, store, ZoneInfo(zone), outbox)
            yield Shop(dsn, connection, redis, refresher, Prober(refresher, producer))
    finally:
        await connection.close()
        await source.close()
        await outbox.close()


async def refresh_own_board(refresher: RefreshContext, report: Report) -> dict[str, object]:
    """Refresh a report's board and return the facts of that report.

    Raises:
        TryLater: the report failed, or is in its pause after a failure.
    """
    outcome = await refresh_board(refresher, refresher.board_of(report))
    if report.name not in outcome.reports:
        raise TryLater(
            outcome.failed.get(report.name, "the report is paused after a failure; see ./run ops reports status")
        )
    return outcome.reports[report.name]
