"""The recorder: writes to Postgres how jobs of the ledger ended, which scripts leave in Redis.

In one transaction it writes ends of a group and removes their jobs from the pending ones; after the commit Redis
forgets exactly what was written. Removing them waits for a relay that is about to push one of
them: so a job is known to Redis until no relay can have its row any more.

What can go wrong: the worker dies before the commit, or before Redis has forgotten the ends; they are written
again. One recorder works at a time; others find its lock taken and rest.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress

from ledger.groups import LEDGER_GROUPS
from ledger.recording_lock import may_record
from producers.identifier import is_job_id
from producers.keys import LaneKeys
from producers.link.script import Script, read_script
from producers.operation import Call
from worker.ledger.links import GroupLinks
from worker.ledger.outage import FAULTS, Outage
from worker.ledger.push import SCRIPTS
from worker.ledger.tables_postgres import JobEnd, LedgerTables, remove_pending, write_ends

_RECORDED = Script(read_script(SCRIPTS, "recorded"))
_BATCH = 500
_BUSY_SECONDS, _IDLE_SECONDS = 0.05, 1.0
"""Pause after a round that recorded ends, and the longest one; it doubles after each that found none."""
_STATES = frozenset({"done", "suppressed", "dead", "cancelled", "discarded", "expired"})
LAST_DAY = 2_932_896
"""The end of the year 9999, in days since 1970."""
_REPLY_LIMIT = 1000
"""Characters of a reply that are kept."""


class EndRecorder:
    """One worker's recorder of ends."""

    def __init__(self, tables: LedgerTables, links: GroupLinks) -> None:
        self._tables = tables
        self._links = links
        self._outage = Outage("recorder")

    async def run(self) -> None:
        """Record until cancelled."""
        pause = _BUSY_SECONDS
        while True:
            try:
                recorded = await self.record_all()
            except FAULTS as error:
                await self._outage.pause(error)
                continue
            self._outage.end()
            pause = _BUSY_SECONDS if recorded else min(2 * pause, _IDLE_SECONDS)
            await asyncio.sleep(pause)

    async def record_all(self) -> int:
        """Record the ends of all groups that are in Redis now; return their number.

        Raises:
            FAULTS: what was not recorded stays in Redis.
        """
        recorded = 0
        for group in LEDGER_GROUPS:
            cursor = b"0"
            while True:
                cursor, number = await self._record_page(group, cursor)
                recorded += number
                if cursor == b"0":
                    break
        return recorded

    async def _record_page(self, group: str, cursor: bytes) -> tuple[bytes, int]:
        """Record a page of a group's ends; return the next cursor, 0 after the last, and the number."""
        key = LaneKeys(group).ended
        if not await self._links.call(group, lambda call: call("HLEN", key)):
            return b"0", 0
        async with self._tables.transaction() as connection:
            if not await may_record(connection):
                return b"0", 0
            cursor, flat = await self._links.call(group, lambda call: call("HSCAN", key, cursor, "COUNT", _BATCH))
            found = dict(zip(flat[::2], flat[1::2], strict=True))
            ends = _read_ends(found)
            if ends:
                await write_ends(connection, list(ends.values()))
                await remove_pending(connection, [one.id for one in ends.values()])
        if ends:
            await self._links.call(group, lambda call: _forget(call, key, found, ends))
        return cursor, len(ends)


async def _forget(call: Call, key: str, found: Mapping[bytes, bytes], ends: Mapping[bytes, JobEnd]) -> None:
    for at in range(0, len(ends), _BATCH):
        some = list(ends)[at : at + _BATCH]
        await _RECORDED.run(call, [key], [part for job_id in some for part in (job_id, found[job_id])])


def _read_ends(found: Mapping[bytes, bytes]) -> dict[bytes, JobEnd]:
    """Return the ends by id, but not those that none of our scripts wrote: they stay where they are."""
    ends: dict[bytes, JobEnd] = {}
    for job_id, text in found.items():
        with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            ends[job_id] = read_end(job_id, text)
    return ends


def read_end(job_id: bytes, text: bytes) -> JobEnd:
    """Return the end that a script noted.

    Raises:
        ValueError, TypeError, KeyError, OverflowError, RecursionError: no script noted this.

    Example:
        >>> read_end(b"{mail}1", b'{"day":20786,"state":"done","attempt":1,"at_ms":5,"reply":"250 OK"}').reply
        '250 OK'
    """
    content = json.loads(text.decode("utf-8", "replace"))
    day, at_ms, known = int(content["day"]), int(content["at_ms"]), job_id.decode()
    if not is_job_id(known) or "\0" in known:
        raise ValueError("id: is not a job id")
    if content["state"] not in _STATES or not 0 <= day <= LAST_DAY or not 0 <= at_ms < 1 << 47:
        raise ValueError("day, at_ms and state: must describe the end of a job")
    return JobEnd(
        day,
        known,
        content["state"],
        at_ms,
        attempt=min(max(0, int(content.get("attempt", 0))), 1 << 30),
        account=_text(content.get("account", "")),
        reply=_text(content.get("reply", "")),
        uncertain=content.get("uncertain") is True,
    )


def _text(value: object) -> str:
    """Return a text that Postgres can hold: no NUL, no lone surrogate."""
    plain = str(value)[:_REPLY_LIMIT].replace("\0", " ")
    return plain.encode("utf-8", "replace").decode("utf-8")
