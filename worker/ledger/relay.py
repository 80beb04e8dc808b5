"""The relay: hands pending jobs to Redis and removes them from the pending ones, a batch in one transaction.

    lock     some pending rows that no other relay has
    read     their jobs, with an end or a mark if they were handed over before
    push     one call for the jobs of each lane; Redis ignores those that it knows
    remove   them from the pending; write an end of each that will never be queued, and the mark of each that runs,
             since Redis took it before its row was seen (level ``fallback``)
    commit

What can go wrong: the worker dies after the push, and another relay pushes the same jobs again, which Redis
knows by then; their ends are not forgotten there before the row is free (``recorder.py``). A lane whose keys
hold something else rests, and its rows stay. Redis or Postgres is down: nothing is lost, and it is tried again
after a pause.

A token in ``momentus:{group}:staged`` says that rows were staged, perhaps before their commit; so a relay looks
again a few times. Without a token it looks once a second.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from producers.keys import LaneKeys
from producers.operation import Call
from producers.rights import missing_right
from reports.connection_postgres import Connection
from worker.events import emit, event
from worker.ledger.links import GroupLinks
from worker.ledger.outage import FAULTS, Outage
from worker.ledger.pending_scan import PendingScan
from worker.ledger.push import PushRefusal, PushResult, StagedJob, push_jobs
from worker.ledger.staged_job import UnusableRow, read_mark, read_staged
from worker.ledger.tables_postgres import (
    EffectNote,
    JobEnd,
    LedgerTables,
    copy_effects,
    lock_pending,
    read_jobs,
    remove_pending,
    write_ends,
)

_JOBS_QUARANTINED = event("ledger.quarantined")
_LANE_RESTS = event("ledger.lane_rests")

BATCH = 500
_CALL_BYTES = 4 << 20
"""Bytes of payloads in one push, which Redis copies in about 2 ms."""
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.1
"""Seconds after a token at which the relay first looks, and until which it keeps looking."""
_LANE_REST = 5.0
_NO_DAY = "day: must be from 1970-01-01 to 9999-12-31"


class Relay:
    """One worker's relay.

    Args:
        tables: the ledger.
        links: to Redis, by group.
    """

    def __init__(self, tables: LedgerTables, links: GroupLinks) -> None:
        self._tables = tables
        self._links = links
        self._outage = Outage("relay")
        self._scan = PendingScan()
        self._resting: dict[str, float] = {}
        """For each lane whose keys hold something else, the time until which it rests."""

    async def run(self) -> None:
        """Relay until cancelled."""
        while True:
            try:
                moved = await self.move_batch()
            except FAULTS as error:
                await self._outage.pause(error)
                continue
            self._outage.end()
            if moved < BATCH:
                await self._rest()

    async def move_batch(self) -> int:
        """Hand over up to 500 pending jobs; return the number of rows read.

        Raises:
            FAULTS: no pending job was removed; a later call repeats the push.
        """
        self._forget_rests()
        async with self._tables.transaction() as connection:
            found = await self._lock(connection)
            if not found:
                return 0
            ends = [_end_of(job_id, 0, "quarantined", _NO_DAY) for job_id, day in found if day is None]
            dated = [(job_id, day) for job_id, day in found if day is not None]
            rows = await read_jobs(connection, dated) if dated else []
            jobs, unusable = _read_rows(dated, rows)
            pushed, left = await self._push(jobs)
            ends += unusable + [_end_of_refused(one) for one in pushed.refusals]
            kept = {one.id for one in left}
            await remove_pending(connection, [job_id for job_id, _ in found if job_id not in kept])
            if ends:
                await write_ends(connection, ends)
            if marks := [EffectNote(job.day, job.id, *read_mark(mark)) for job, mark in pushed.marked]:
                await copy_effects(connection, marks)
        if quarantined := sum(one.state == "quarantined" for one in ends):
            emit(_JOBS_QUARANTINED, jobs=quarantined)
        return len(found)

    async def _lock(self, connection: Connection) -> list[tuple[str, int | None]]:
        """Lock some pending rows; return their ids and days."""
        began = time.monotonic()
        place = self._scan.place(began)
        found = await lock_pending(connection, limit=BATCH, after=place)
        now, places = time.monotonic(), [place for place, _, _ in found]
        self._scan.note_read(place, places, seconds=now - began, now=now, is_last=len(found) < BATCH)
        return [(job_id, day) for _, job_id, day in found]

    async def _push(self, jobs: Sequence[StagedJob]) -> tuple[PushResult, list[StagedJob]]:
        """Push jobs by lane; return what became of those that were not queued, and those that stay pending."""
        pushed = PushResult()
        left: list[StagedJob] = []
        for lane, some in _by_lane(jobs).items():
            if lane in self._resting:
                left += some
                continue
            of_lane = PushResult()
            try:
                for part in _in_parts(some):
                    of_lane.add(await self._links.call(lane, partial(_push_part, part)))
            except ResponseError as error:
                if not str(error).startswith(("WRONGTYPE", "ERR")) or missing_right(error):
                    raise
                emit(_LANE_RESTS, lane=lane, error=type(error).__name__)
                self._resting[lane] = time.monotonic() + _LANE_REST
                left += some
            else:
                pushed.add(of_lane)
        if left:
            self._scan.note_left(time.monotonic() + _LANE_REST)
        return pushed, left

    def _forget_rests(self) -> None:
        now = time.monotonic()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}

    async def _rest(self) -> None:
        """Wait for a token or a second; after a token look until a row shows."""
        if not await self._links.wait_for_token():
            return
        pause = _FIRST_LOOK
        while pause < _LAST_LOOK:
            await asyncio.sleep(pause)
            if await self._found_some():
                return
            pause *= 2

    async def _found_some(self) -> bool:
        try:
            return await self.move_batch() > 0
        except FAULTS as error:
            await self._outage.pause(error)
            return True


async def _push_part(part: Sequence[StagedJob], call: Call) -> PushResult:
    return await push_jobs(call, part)


def _read_rows(
    found: Sequence[tuple[str, int]], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[StagedJob], list[JobEnd]]:
    """Return the jobs to push, and the ends of rows that cannot be pushed; neither for one that has ended."""
    jobs: list[StagedJob] = []
    ends: list[JobEnd] = []
    for (job_id, day), row in zip(found, rows, strict=True):
        if row["end_state"] is not None:
            continue
        try:
            jobs.append(read_staged(job_id, day, row))
        except UnusableRow as error:
            ends.append(_end_of(job_id, day, "quarantined", str(error)))
    return jobs, ends


def _by_lane(jobs: Sequence[StagedJob]) -> dict[str, list[StagedJob]]:
    lanes: dict[str, list[StagedJob]] = {}
    for one in jobs:
        lanes.setdefault(one.lane, []).append(one)
    return lanes


def _in_parts(jobs: Sequence[StagedJob]) -> list[list[StagedJob]]:
    """Divide jobs so that no part is too long for one call."""
    parts: list[list[StagedJob]] = [[]]
    size = 0
    for one in jobs:
        if parts[-1] and size + len(one.payload) > _CALL_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += len(one.payload)
    return parts


def _end_of(job_id: str, day: int, state: str, reply: str) -> JobEnd:
    return JobEnd(day, job_id, state, round(time.time() * 1000), reply=reply)


def _end_of_refused(refusal: PushRefusal) -> JobEnd:
    job = refusal.job
    if refusal.why == "duplicate":
        return _end_of(job.id, job.day, "duplicate", refusal.holder)
    return _end_of(job.id, job.day, "quarantined", f"key: {_conflict_of(refusal)}")


def _conflict_of(refusal: PushRefusal) -> str:
    if refusal.holder:
        return f"is already used for other content, by the job {refusal.holder}; give another key"
    name = f"momentus:{LaneKeys(refusal.job.lane).tag}:unique:{refusal.job.key}"
    return f"{name} holds something else in Redis; remove it and stage the job again"
