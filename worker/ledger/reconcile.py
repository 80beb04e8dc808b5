"""The agreement of Redis with the ledger after Redis has lost data: all of it, or only the latest.

    lost       a job without an end that Redis does not know becomes pending; the relay pushes it with its mark
    ended      a job that waits in Redis although it has ended is taken out: Redis went back to an earlier state

A job is lost if it has no end in Postgres, is not pending, and is in neither hash of its group (``ledger.lua``):
Redis was emptied, replaced, or went back to an earlier state. The search runs at the start, when the connection to
Redis is a new one or its data has another id, when the server follows another or has a new replica
(``server_role.py``), and every five minutes. A past day is not searched again once all its jobs had ended. Jobs
that have ended are searched for at the start and after such a change only.

It excludes recorders while it looks. A job whose end was recorded before has its end in Postgres; one that ends
meanwhile stays in Redis; so neither is taken for lost.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from ledger.groups import LEDGER_GROUPS
from ledger.live_jobs import has_ended, make_pending, read_facts, read_live
from ledger.recording_lock import exclude_recorders
from ledger.records import recorded_days
from producers.entry import take_out
from producers.identifier import group_of_id
from producers.keys import LaneKeys
from producers.link.link import NOT_THE_PRIMARY, is_error
from producers.link.script import Script, read_script
from producers.operation import Call
from reports.connection_postgres import Connection
from worker.events import emit, event
from worker.ledger.links import GroupLinks
from worker.ledger.outage import FAULTS, Outage
from worker.ledger.push import SCRIPTS
from worker.ledger.recorder import LAST_DAY
from worker.ledger.server_role import ServerRole, read_role
from worker.ledger.tables_postgres import LedgerTables

_JOBS_LOST = event("ledger.jobs_lost")

_KNOWN = Script(read_script(SCRIPTS, "known"))
_PAGE = 2000
_EPOCH = date(1970, 1, 1)
_EVERY_SECONDS = 300.0
_LOOK_SECONDS = 1.0
Replicas = frozenset[tuple[str, str]]
"""Replicas of the groups' servers: group and place."""
_STAGED_LATE = timedelta(days=9)
"""Time before the last partition's day, a week ahead, within which a transaction may still stage jobs."""


class Reconciler:
    """One worker's search for jobs that Redis lost."""

    def __init__(self, tables: LedgerTables, links: GroupLinks) -> None:
        self._tables = tables
        self._links = links
        self._outage = Outage("reconcile")
        self._known: tuple[object, ...] = ()
        self._replicas: Replicas = frozenset()
        self._ended_days: set[date] = set()
        self._due_at = 0.0

    async def run(self) -> None:
        """Search now, every five minutes, and whenever Redis was replaced or has other data, until cancelled."""
        while True:
            try:
                await self._look()
            except FAULTS as error:
                await self._outage.pause(error)
                continue
            self._outage.end()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        """Search if the identity of Redis or of its data changed, or if it is time."""
        found, replicas = await self._identify()
        self._replicas &= replicas
        is_other = found != self._known or bool(replicas - self._replicas)
        if not is_other and time.monotonic() < self._due_at:
            return
        if is_other:
            self._ended_days.clear()  # jobs that died then may have been revived since
            await self.remove_ended()
        await self.return_lost()
        self._known, self._replicas, self._due_at = found, replicas, time.monotonic() + _EVERY_SECONDS

    async def _identify(self) -> tuple[tuple[object, ...], Replicas]:
        """Return values of which one changes if Redis has restarted, is another server, or has lost its data.

        Also return its replicas: a new one may have been the primary of other workers.
        """
        found: list[object] = []
        replicas: Replicas = frozenset()
        for group in LEDGER_GROUPS:
            keys = LaneKeys(group)
            found.append(await self._links.call(group, partial(_read_data_id, keys)))
            role = await self._links.call(group, _read_role)
            found += [self._links.connection(group), role.primary]
            replicas |= {(group, one) for one in role.replicas}
        return tuple(found), replicas

    async def remove_ended(self) -> None:
        """Remove ended jobs from Redis.

        Raises:
            FAULTS: a later call does the rest.
        """
        for group in LEDGER_GROUPS:
            cursor = b"0"
            while True:
                scan = partial(_scan, LaneKeys(group).ledger, cursor)
                cursor, flat = await self._links.call(group, scan)
                await self._remove_ended(_read_days(dict(zip(flat[::2], flat[1::2], strict=True))))
                if cursor == b"0":
                    break

    async def _remove_ended(self, live: Sequence[tuple[str, int]]) -> None:
        """Take out those that have ended."""
        if not live:
            return
        for job_id in await self._ended(live):
            group = group_of_id(job_id)
            await self._links.call(group, take_out(LaneKeys(group), job_id, "cancelled").run)

    async def _ended(self, live: Sequence[tuple[str, int]]) -> list[str]:
        """Return the jobs among these that have ended for good; a dead one may have been revived."""
        by_day = defaultdict[int, list[str]](list)
        for job_id, day in live:
            by_day[day].append(job_id)
        facts: list[Any] = []
        async with self._tables.transaction() as connection:
            for day, ids in by_day.items():
                facts += await read_facts(connection, _EPOCH + timedelta(days=day), ids)
        return [row["id"] for row in facts if row["state"] not in ("", "dead")]

    async def return_lost(self) -> int:
        """Make all jobs that Redis does not know pending again; return their number.

        Raises:
            FAULTS: some may be pending; a later call finds the others.
        """
        lost = 0
        async with self._tables.transaction() as connection:
            days = await recorded_days(connection)
        self._ended_days &= set(days)
        for day in days:
            if day not in self._ended_days:
                lost += await self._return_day(day, is_past=days[-1] - day > _STAGED_LATE)
        if lost:
            emit(_JOBS_LOST, jobs=lost)
        return lost

    async def _return_day(self, day: date, *, is_past: bool) -> int:
        """Make the lost jobs of a day pending; return their number."""
        after, lost = "", 0
        while True:
            async with self._tables.transaction() as connection:
                await exclude_recorders(connection)
                page = await read_live(connection, day, after=after, limit=_PAGE)
                lost += await self._return_page(connection, day, page)
                if is_past and not page and not after and await has_ended(connection, day):
                    self._ended_days.add(day)
            if len(page) < _PAGE:
                return lost
            after = page[-1]

    async def _return_page(self, connection: Connection, day: date, page: Sequence[str]) -> int:
        """Make those of these jobs that Redis does not know pending again; return their number."""
        lost = [job_id for group in LEDGER_GROUPS for job_id in await self._unknown(group, page)]
        if lost:
            await make_pending(connection, day, lost)
        return len(lost)

    async def _unknown(self, group: str, page: Sequence[str]) -> list[str]:
        """Return the jobs of a group that Redis does not know."""
        keys = LaneKeys(group)
        some = [job_id for job_id in page if job_id.startswith(keys.tag)]
        if not some:
            return []
        known = await self._links.call(group, lambda call: _KNOWN.run(call, [keys.ledger, keys.ended], some))
        return [job_id for job_id, is_known in zip(some, known, strict=True) if not is_known]


async def _read_data_id(keys: LaneKeys, call: Call) -> bytes | None:
    found: bytes | None = await call("HGET", keys.dataset, "id")
    return found


async def _read_role(call: Call) -> ServerRole:
    """Return the server's role; an unknown one if the user or a proxy lacks the command."""
    try:
        return read_role(await call("ROLE"))
    except ResponseError as error:
        if is_error(error, *NOT_THE_PRIMARY):
            raise
        return ServerRole()


async def _scan(key: str, cursor: bytes, call: Call) -> tuple[bytes, list[bytes]]:
    found: tuple[bytes, list[bytes]] = await call("HSCAN", key, cursor, "COUNT", _PAGE)
    return found


def _read_days(found: Mapping[bytes, bytes]) -> list[tuple[str, int]]:
    """Return ids with the days of their rows, but not those that none of our scripts wrote.

    >>> _read_days({b"{mail}1": b"20786", b"{mail}2": b"x"})
    [('{mail}1', 20786)]
    """
    days = ((job_id.decode("utf-8", "replace"), day.decode("ascii", "replace")) for job_id, day in found.items())
    return [(job_id, int(day)) for job_id, day in days if day.isdecimal() and int(day) <= LAST_DAY]
