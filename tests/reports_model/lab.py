"""The servers, workers and connections of one run of the machine, driven by one event loop of its own."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self
from unittest.mock import patch
from zoneinfo import ZoneInfo

import asyncpg
import structlog
from redis import Redis as PlainRedis
from redis.asyncio import Redis

from clocks import ClockReading
from local.organisation.postgres import install_schema
from producers import Producer
from reports import Report
from reports.boards import boards_of
from reports.catalogue_postgres import Catalogue, read_catalogue
from reports.keys import snapshot
from reports.outbox_postgres import Outbox
from reports.source_postgres import Source
from reports.store import NewSet, ReportStore, SetChange, StoredSet as FormerSet
from reports.triggers import install_script
from tests.reports_model.clock import install_clock, set_clock, timed_connections, to_us
from tests.reports_model.company import NAMES, ROOT, Statement
from tests.reports_model.partitions import PARTITIONED, bring_back
from tests.reports_model.stored import StoredSet
from worker import events
from worker.reports.clocks import Clocks
from worker.reports.prober import Prober
from worker.reports.refresh_context import RefreshContext

TENANT = "default"
_KEEPERS_OF_TIME = ("clocks", "reports.outbox_postgres", "reports.source_postgres", "reports.store")
"""Modules that ask how long the process has been running: here, as long as the machine says."""
_HANGS = 20.0
"""Seconds after which a step is given up: it waits for something that does not come."""
_WITHOUT_REFERENCES = """
DO $$
DECLARE one record;
BEGIN
    FOR one IN SELECT conrelid::regclass AS place, conname FROM pg_constraint WHERE contype = 'f' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.place, one.conname);
    END LOOP;
END $$
"""


class BlindOutbox(Outbox):
    """Sees no triggers: whatever they tell is left to the snapshots."""

    async def _ask(self) -> None:
        await super()._ask()
        unseen = {
            name: replace(proof, kind="snapshot" if proof.kind == "marks" else proof.kind)
            for name, proof in self._known.proofs.items()
        }
        self._known = replace(self._known, proofs=unseen)


@dataclass(slots=True)
class Time:
    """The time that passes in the machine, by how much Redis's clock is ahead of it, and the database's clock.

    All in microseconds.
    """

    running_us: int = 0
    redis_us: int = 0
    database_us: int = 0


class LabStore(ReportStore):
    """Knows a clock of Redis that the machine sets, as it does the database's; notes what each stored set saw."""

    def __init__(self, redis: Redis, *, tenant: str, time: Time, snapshots: dict[datetime, str]) -> None:
        super().__init__(redis, tenant=tenant)
        self._machine = time
        self._snapshots = snapshots

    async def publish_set(self, new: NewSet, stored: FormerSet, change: SetChange) -> str:
        assert "distrusted_us" not in new.meta, "the query for some nodes disagreed with the whole"
        state = await super().publish_set(new, stored, change)
        if state == "stored" and not new.day:
            self._snapshots[new.as_of] = str(new.meta["snapshot"])
        return state

    async def read_clock(self) -> ClockReading:
        await super().read_clock()
        running_us = self._machine.running_us
        return ClockReading(running_us + self._machine.redis_us, running_us, running_us)


class LabWorker:
    """One worker's connections: with a look at the marks, and without."""

    def __init__(
        self,
        dsn: str,
        url: str,
        reports: dict[str, Report],
        producer: Producer,
        time: Time,
        snapshots: dict[datetime, str],
    ) -> None:
        self.redis = Redis.from_url(url)
        self.source = Source(dsn, statement_timeout=timedelta(seconds=30), connections=2)
        self.source._pool._options["connection_class"] = timed_connections(lambda: time.database_us)
        self.source._timeouts[1] = "20ms"  # a paused worker holds the board's row: the others need not wait long
        store = LabStore(self.redis, tenant=TENANT, time=time, snapshots=snapshots)
        boards = boards_of(reports)
        self.outbox = Outbox(dsn, tenant=TENANT, boards=boards)
        self._blind = BlindOutbox(dsn, tenant=TENANT, boards=boards)
        zone = ZoneInfo("UTC")
        self._refreshers = {
            True: RefreshContext(TENANT, reports, self.source, store, zone, self.outbox),
            False: RefreshContext(TENANT, reports, self.source, store, zone, self._blind),
        }
        self._producer = producer

    def refresher(self, zone: str, *, watched: bool) -> RefreshContext:
        return replace(self._refreshers[watched], zone=ZoneInfo(zone))

    def prober(self, zone: str, *, watched: bool) -> Prober:
        for one in (self.outbox, self._blind):
            one._asking = 0.0  # by the machine's clock there was time enough since the last question
        return Prober(self.refresher(zone, watched=watched), self._producer)

    def lose_postgres(self) -> None:
        """The connections break, as by a network that fails or a process that dies."""
        pool: Any = self.source._pool._pool
        if pool is not None:
            for holder in pool._holders:
                if holder._con is not None and not holder._con.is_closed():
                    holder._con._transport.abort()

    def lose_redis(self) -> None:
        pool = self.redis.connection_pool
        for connection in (*pool._available_connections, *pool._in_use_connections):
            if connection._writer is not None:
                connection._writer.transport.abort()

    def forget(self) -> None:
        """As a worker that has just begun, so that a run can be repeated."""
        for one in (self.outbox, self._blind):
            one._known, one._known_until, one._asking = Catalogue(), 0.0, 0.0
        self._refreshers = {watched: replace(one, clocks=Clocks()) for watched, one in self._refreshers.items()}

    async def close(self) -> None:
        for one in (self.source, self.outbox, self._blind):
            await one.close()
        await self.redis.aclose()


class Lab:
    """Use as a context; all in it happens when `do` is called. Workers say nothing: nobody reads so much."""

    def __init__(self, dsn: str, url: str, reports: dict[str, Report]) -> None:
        self.dsn, self.url, self.reports = dsn, url, reports
        self.steps = self.refreshes = self.crashes = self.proofs = 0
        self.computed: Counter[str] = Counter()
        """How reports were computed, by the reason."""
        self.unmarked = False
        self._runner = asyncio.Runner()
        self._logging: dict[str, Any] | None = None
        self.time = Time()
        self.snapshots: dict[datetime, str] = {}
        self._clocks = ExitStack()

    def __enter__(self) -> Self:
        for module in _KEEPERS_OF_TIME:
            self._clocks.enter_context(patch(f"{module}.running_us", lambda: self.time.running_us))
        self._logging = structlog.get_config() if structlog.is_configured() else None
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._runner.__enter__()
        self.redis = PlainRedis.from_url(self.url)
        self.do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._close())
        self.redis.close()  # type: ignore[no-untyped-call]
        self._runner.__exit__(None, None, None)
        self._clocks.close()
        if self._logging is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**self._logging)
        events._cached_method.cache_clear()  # or later tests of this process would log nothing

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(asyncio.wait_for(work, _HANGS))

    async def _open(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        await install_schema(connection)
        await connection.execute(_WITHOUT_REFERENCES)
        await connection.execute(PARTITIONED)
        await self.install(connection)
        await install_clock(connection)
        await connection.close()
        self.writer, self.slow_writer = [await asyncpg.connect(self.dsn) for _ in range(2)]
        self.producer = Producer.connect(self.url, tenant=TENANT, budget=2)
        shared = self.producer, self.time, self.snapshots
        self.workers = [LabWorker(self.dsn, self.url, self.reports, *shared) for _ in range(2)]

    async def install(self, connection: Any) -> None:
        """Put the triggers on all tables that there are now."""
        role = await connection.fetchval("SELECT current_user")
        await connection.execute(install_script(TENANT, boards_of(self.reports), role=role))
        self.unmarked = False

    async def _close(self) -> None:
        for worker in self.workers:
            await worker.close()
        await self.producer.close()
        await self.writer.close()
        await self.slow_writer.close()

    async def clear(self, at: datetime) -> None:
        """As at the start: a root and nothing else, nothing stored, no marks."""
        self.redis.flushall()
        self.snapshots.clear()
        self.time.running_us, self.time.redis_us = 0, to_us(at)
        for worker in self.workers:
            worker.forget()
        await bring_back(self.writer)
        if self.unmarked:
            await self.install(self.writer)
        tables = ", ".join(f"organisation.{name}" for name in NAMES)
        await self.writer.execute(f"TRUNCATE {tables}; TRUNCATE momentus.dirty, momentus.boards")
        await self.set_clock(at)
        await self.write([("INSERT INTO organisation.nodes VALUES ($1, NULL, 'Root', 'root')", (ROOT,))])

    async def write(self, statements: list[Statement]) -> int:
        """In one transaction; its number."""
        async with self.writer.transaction():
            for sql, arguments in statements:
                await self.writer.execute(sql, *arguments)
            return int(await self.writer.fetchval("SELECT pg_current_xact_id()::text"))

    async def set_clock(self, at: datetime) -> None:
        self.time.database_us = to_us(at)
        await set_clock(self.writer, at)

    def stored(self) -> dict[str, StoredSet]:
        """All sets that are there, read in one go."""
        with self.redis.pipeline(transaction=False) as pipe:
            for report in self.reports:
                pipe.hgetall(snapshot(TENANT, report))
            answers: list[dict[bytes, bytes]] = pipe.execute()  # type: ignore[no-untyped-call]
        return {
            report: StoredSet({name.decode(): value for name, value in fields.items()})
            for report, fields in zip(self.reports, answers, strict=True)
            if b"_meta" in fields
        }

    def rest_is_over(self, report: str) -> None:
        """A failed report is left alone for a while; that while has passed."""
        self.redis.hdel(snapshot(TENANT, report), "_error")

    async def catalogue(self) -> Catalogue:
        """What the catalogue says now."""
        return await read_catalogue(self.writer.fetch, TENANT, boards_of(self.reports))

    async def waiting(self) -> tuple[set[str], dict[str, datetime]]:
        """Boards with marks that nobody took up, and when each board's were."""
        marks = await self.writer.fetch("SELECT DISTINCT board FROM momentus.dirty")
        taken = await self.writer.fetch("SELECT board, as_of FROM momentus.boards")
        return {row["board"] for row in marks}, {row["board"]: row["as_of"] for row in taken}


Meanwhile = Callable[[], Awaitable[None]]
