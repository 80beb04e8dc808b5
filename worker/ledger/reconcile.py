"""The search for jobs that Redis has lost: it makes them pending again, and the relay pushes them with their marks.

A job is lost if it has no end in Postgres, is not pending, and is in neither hash of its group (``ledger.lua``): Redis
was emptied, replaced, or went back to an earlier state. It runs at the start, when Redis's run or replication id
changes, when its data has another id, and every five minutes.

It excludes recorders while it looks. A job whose end was recorded before has its end in Postgres; one that ends
meanwhile stays in Redis; so neither is taken for lost.
"""

import asyncio
import time
from collections.abc import Sequence

from redis.exceptions import ResponseError

from producers.keys import LaneKeys
from producers.link.script import Script, read_script
from producers.operation import Call
from producers.rights import missing_right
from reports.connection_postgres import Connection
from worker.engine.wake import jittered_pause
from worker.events import emit, event
from worker.ledger.links import GROUPS, GroupLinks
from worker.ledger.push import SCRIPTS
from worker.ledger.relay import FAULTS
from worker.ledger.tables_postgres import (
    LedgerTables,
    exclude_recorders,
    make_pending,
    read_days,
    read_live,
)

_LEDGER_AWAY = event("ledger.away")
_JOBS_LOST = event("ledger.jobs_lost")

_KNOWN = Script(read_script(SCRIPTS, "known"))
_PAGE = 2000
_EVERY_SECONDS = 300.0
_LOOK_SECONDS = 1.0
_LONGEST_PAUSE = 5.0


class Reconciler:
    """One worker's search for jobs that Redis lost."""

    def __init__(self, tables: LedgerTables, links: GroupLinks) -> None:
        self._tables = tables
        self._links = links
        self._failures = 0
        self._known: tuple[object, ...] = ()
        self._due_at = 0.0

    async def run(self) -> None:
        """Search now, every five minutes, and whenever Redis is another or has other data, until cancelled."""
        while True:
            try:
                await self._look()
                self._failures = 0
                await asyncio.sleep(_LOOK_SECONDS)
            except FAULTS as error:
                if self._failures == 0:
                    emit(_LEDGER_AWAY, part="reconcile", error=type(error).__name__)
                self._failures += 1
                await asyncio.sleep(jittered_pause(self._failures, longest=_LONGEST_PAUSE))

    async def _look(self) -> None:
        """Search if the identity of Redis or of its data changed, or if it is time."""
        found = await self._identify()
        if found == self._known and time.monotonic() < self._due_at:
            return
        await self.return_lost()
        self._known, self._due_at = found, time.monotonic() + _EVERY_SECONDS

    async def _identify(self) -> tuple[object, ...]:
        """Return what changes when Redis starts anew, follows another primary, or has lost its data."""
        found: list[object] = []
        for group in GROUPS:
            found += await self._links.call(group, lambda call, keys=LaneKeys(group): _identify(call, keys))
        return tuple(found)

    async def return_lost(self) -> int:
        """Make all jobs pending that Redis does not know; return their number.

        Raises:
            FAULTS: some may be pending; a later call finds the others.
        """
        lost = 0
        async with self._tables.transaction() as connection:
            days = await read_days(connection)
        for day in days:
            after: str | None = ""
            while after is not None:
                async with self._tables.transaction() as connection:
                    await exclude_recorders(connection)
                    after, number = await self._return_page(connection, day, after)
                lost += number
        if lost:
            emit(_JOBS_LOST, jobs=lost)
        return lost

    async def _return_page(self, connection: Connection, day: int, after: str) -> tuple[str | None, int]:
        """Make the lost jobs of a page pending; return the page's last id, None at the end, and their number."""
        page = await read_live(connection, day, after=after, limit=_PAGE)
        lost = [job_id for group in GROUPS for job_id in await self._unknown(group, page)]
        if lost:
            await make_pending(connection, day, lost)
        return (page[-1] if len(page) == _PAGE else None), len(lost)

    async def _unknown(self, group: str, page: Sequence[str]) -> list[str]:
        """Return the jobs of a group that Redis does not know."""
        keys = LaneKeys(group)
        some = [job_id for job_id in page if job_id.startswith(keys.tag)]
        if not some:
            return []
        known = await self._links.call(group, lambda call: _KNOWN.run(call, [keys.ledger, keys.ended], some))
        return [job_id for job_id, is_known in zip(some, known, strict=True) if not is_known]


async def _identify(call: Call, keys: LaneKeys) -> list[object]:
    """Return the run id, the replication id, and the id of the group's data; the latter alone without a right."""
    data = await call("HGET", keys.dataset, "id")
    try:
        server = dict(_fields(await call("INFO", "server")))
        replication = dict(_fields(await call("INFO", "replication")))
    except ResponseError as error:
        if not missing_right(error):
            raise
        return [data]
    return [server.get("run_id"), replication.get("master_replid"), data]


def _fields(info: bytes) -> list[tuple[str, str]]:
    """Return the fields of a reply of INFO.

    >>> _fields(b"# Server\\r\\nrun_id:abc\\r\\n")
    [('run_id', 'abc')]
    """
    lines = info.decode("utf-8", "replace").splitlines()
    return [(name, value) for name, _, value in (line.partition(":") for line in lines) if value]
