"""The ledger's work in a worker: started where the database has a ledger, which is checked once a minute.

Relay, recorder and search are background tasks, each restarted after a fault. Partitions of coming days are made
once an hour, so that none of them is missing when its day begins.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import background
from ledger import schema
from reports.source_postgres import DATABASE_FAULTS, log_fields
from worker.events import EventName, emit, event
from worker.ledger.links import GroupLinks
from worker.ledger.marks import LedgerMarks
from worker.ledger.outage import Outage
from worker.ledger.reconcile import Reconciler
from worker.ledger.recorder import EndRecorder
from worker.ledger.relay import Relay
from worker.ledger.tables_postgres import LedgerTables
from worker.troubles import TROUBLES, end_trouble, note_trouble

_LEDGER_FOUND = event("ledger.found")
_LEDGER_UNUSABLE = event("ledger.unusable")
_LEDGER_AWAY = event("ledger.away")

_LOOK_SECONDS = 60.0
_PARTITIONS_SECONDS = 3600.0
_RETRY_SECONDS = 5.0


class LedgerService:
    """A worker's part in the ledger: its background tasks and its marks.

    Args:
        dsn: the database that may have a ledger.
        url: Redis.
        relays: False to hand over no jobs: others do.
    """

    def __init__(self, dsn: str, url: str, *, relays: bool = True) -> None:
        self._tables = LedgerTables(dsn)
        self._links = GroupLinks(url)
        self._relays = relays
        self._said: Mapping[str, str] | None = None
        self._usable = asyncio.Event()
        self.marks = LedgerMarks(self._tables, self._usable)

    async def run(self) -> None:
        """Work for the ledger until cancelled, as soon as the database has one."""
        await self._wait_for_ledger()
        self._usable.set()
        emit(_LEDGER_FOUND)
        parts = {"recorder": EndRecorder(self._tables, self._links).run, "partitions": self._make_partitions}
        if self._relays:
            parts["relay"] = Relay(self._tables, self._links).run
            parts["reconcile"] = Reconciler(self._tables, self._links).run
        tasks = [background.start_task(f"ledger {name}", run) for name, run in parts.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            await background.stop_tasks(*tasks)

    async def close(self) -> None:
        """Close all connections and end the troubles of all parts."""
        for part in [one for one in TROUBLES if one.startswith("ledger ")]:
            end_trouble(part)
        await self._links.close()
        await self._tables.close()

    async def _wait_for_ledger(self) -> None:
        pause = await self._pause_until_there()
        while pause:
            await asyncio.sleep(pause)
            pause = await self._pause_until_there()

    async def _pause_until_there(self) -> float:
        """Return 0 if the database has a ledger that this build can use, else the seconds until the next look."""
        try:
            async with self._tables.transaction() as connection:
                await schema.check(connection)
        except schema.SchemaMissing:
            return _LOOK_SECONDS
        except schema.SchemaFault as error:
            self._say(_LEDGER_UNUSABLE, {"error": type(error).__name__, "reason": str(error)})
            return _LOOK_SECONDS
        except DATABASE_FAULTS as error:
            self._say(_LEDGER_AWAY, log_fields(error))
            return _RETRY_SECONDS
        end_trouble("ledger schema")
        return 0.0

    def _say(self, what: EventName, fields: Mapping[str, str]) -> None:
        if self._said != fields:
            emit(what, part="schema", **fields)
        self._said = fields
        note_trouble("ledger schema", ": ".join(fields.values()))

    async def _make_partitions(self) -> None:
        outage = Outage("partitions", longest=_LOOK_SECONDS)  # each try may wait for a lock, and writers behind it
        while True:
            try:
                async with self._tables.transaction() as connection:
                    await schema.make_partitions(connection)
            except DATABASE_FAULTS as error:
                await outage.pause(error)
                continue
            outage.end()
            await asyncio.sleep(_PARTITIONS_SECONDS)


@asynccontextmanager
async def run_ledger(dsn: str, url: str, *, relays: bool = True) -> AsyncIterator[LedgerService]:
    """Work for the ledger while the block runs.

    Args:
        dsn: the database that may have a ledger.
        url: Redis.
        relays: False to hand over no jobs.
    """
    service = LedgerService(dsn, url, relays=relays)
    task = background.start_task("ledger", service.run)
    try:
        yield service
    finally:
        await background.stop_tasks(task)
        await service.close()
