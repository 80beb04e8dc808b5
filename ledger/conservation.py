"""Conservation over both stores: accepted = ended + live, and both agree about each job.

    Postgres    a job is live if it has no end; it is `pending` until a relay has handed it over
    Redis       a live job that was handed over is in the hash `ledger`; one that ended is in `ended`, until
                Postgres has its end

Jobs move while this runs, in one direction only: pending, `ledger`, `ended`, an end in Postgres. So the stores are
read in an order in which no job on its way looks wrong: a job that Postgres held as live and handed over, that
Redis then does not have, and that Postgres still holds as live after that, was lost by Redis. A dead job that was
revived is in `ledger` again although it has an end.
"""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis

from ledger.groups import LEDGER_GROUPS
from ledger.live_jobs import make_pending, read_facts, read_live
from ledger.recording_lock import exclude_recorders
from ledger.records import recorded_days
from producers.identifier import group_of_id
from producers.keys import LaneKeys
from reports.connection_postgres import Connection

Fault = Literal["lost", "stray", "ended", "no job"]
"""`lost`: Redis has forgotten a live job. `stray`: Redis has a job that Postgres lacks. `ended`: Redis holds a
job as live that has an end. `no job`: Postgres has an end, or a note to hand over, of a job that it lacks."""

_FOLDER = Path(__file__).parent / "sql"
_TOTALS, _ORPHANS = ((_FOLDER / f"{name}.sql").read_text(encoding="utf-8") for name in ("totals", "orphans"))
_PENDING = "SELECT count(*) FROM momentus_ledger.pending WHERE $1::date IS NULL OR day >= $1"
_BATCH = 1000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Disagreement:
    """A job about which the stores disagree."""

    day: date
    id: str
    fault: Fault


@dataclass(slots=True, kw_only=True)
class Conservation:
    """Counts of both stores, each read at its own instant, and the jobs about which they disagree.

    All counts cover the days that were read. Junk in Redis counts, without a day, if all days were read.

    Attributes:
        jobs, ended: in Postgres; ended are those of the jobs that have an end.
        pending: in Postgres, not handed over to Redis.
        live: in Redis, as live jobs.
        unrecorded: in Redis, ends that Postgres lacks.
    """

    jobs: int = 0
    ended: int = 0
    pending: int = 0
    live: int = 0
    unrecorded: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)


async def compare_stores(connection: Connection, redis: Redis, *, since: date | None = None) -> Conservation:
    """Compare Postgres and Redis job by job.

    Args:
        since: the first day of staging that is read and counted; None: all.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer.
    """
    found = Conservation()
    days = [day for day in await recorded_days(connection) if since is None or day >= since]
    for day in days:
        found.disagreements += await _judge_day(connection, redis, day)
    for group in LEDGER_GROUPS:
        async for some in _read_days(redis, LaneKeys(group).ledger, _day, since):
            found.disagreements += await _judge_live(connection, redis, group, some)
    found.disagreements = sorted(set(found.disagreements))  # HSCAN may return a field twice
    await _count_rows(connection, days, since, found)
    await _count_in_redis(redis, since, found)
    return found


async def return_lost(connection: Connection, found: Conservation) -> list[str]:
    """Have a relay hand over again the jobs that Redis has lost; return their ids.

    A relay pushes by id, so what Redis knows again by then is left as it is.

    Raises:
        DATABASE_FAULTS: the database did not answer, or refused; nothing was changed.
    """
    by_day = defaultdict[date, list[str]](list)
    for one in found.disagreements:
        if one.fault == "lost":
            by_day[one.day].append(one.id)
    returned: list[str] = []
    async with connection.transaction():
        await exclude_recorders(connection)
        for day, ids in by_day.items():
            returned += await make_pending(connection, day, ids)
    return returned


async def _count_rows(
    connection: Connection, days: Iterable[date], since: date | None, found: Conservation
) -> None:
    for day in days:
        totals = await connection.fetchrow(_TOTALS, day)
        found.jobs += totals["jobs"]
        found.ended += totals["ended"]
    found.pending = await connection.fetchval(_PENDING, since)


async def _count_in_redis(redis: Redis, since: date | None, found: Conservation) -> None:
    for keys in map(LaneKeys, LEDGER_GROUPS):
        found.live += await _count(redis, keys.ledger, _day, since)
        found.unrecorded += await _count(redis, keys.ended, _day_of_end, since)


async def _count(redis: Redis, key: str, day_of: Callable[[bytes], date], since: date | None) -> int:
    """Return the number of jobs in a hash; of some days by reading all of it."""
    if since is None:
        return int(await redis.hlen(key))  # type: ignore[misc]  # typed for both clients
    return len({job_id async for some in _read_days(redis, key, day_of, since) for job_id in some})


async def _judge_day(connection: Connection, redis: Redis, day: date) -> list[Disagreement]:
    """Return the jobs of a day that Redis has lost, and rows without a job."""
    found = [Disagreement(day, row["id"], "no job") for row in await connection.fetch(_ORPHANS, day)]
    last = ""
    while ids := await read_live(connection, day, after=last, limit=_BATCH):
        last = ids[-1]
        absent = await _absent(redis, ids)
        facts = await read_facts(connection, day, absent)
        found += [
            Disagreement(day, row["id"], "lost") for row in facts if not row["state"] and not row["is_pending"]
        ]
    return found


async def _absent(redis: Redis, job_ids: list[str]) -> list[str]:
    """Return those for which Redis has neither a live job nor an end."""
    by_group = defaultdict[str, list[str]](list)
    for job_id in job_ids:
        by_group[group_of_id(job_id) or "none"].append(job_id)  # a group without jobs
    absent: list[str] = []
    for group, ids in by_group.items():
        live = await redis.hmget(LaneKeys(group).ledger, ids)  # type: ignore[misc]  # typed for both clients
        ended = await redis.hmget(LaneKeys(group).ended, ids)  # type: ignore[misc]  # as above
        absent += [
            one for one, here, there in zip(ids, live, ended, strict=True) if here is None and there is None
        ]
    return absent


async def _judge_live(
    connection: Connection, redis: Redis, group: str, in_redis: Mapping[str, date]
) -> list[Disagreement]:
    """Return those of a batch of Redis's live jobs that Postgres does not have, or that have ended."""
    by_day = defaultdict[date, list[str]](list)
    for job_id, day in in_redis.items():
        by_day[day].append(job_id)
    found: list[Disagreement] = []
    for day, ids in by_day.items():
        states = {row["id"]: row["state"] for row in await read_facts(connection, day, ids)}
        found += [Disagreement(day, one, "stray") for one in ids if one not in states]
        over = [one for one, state in states.items() if state not in ("", "dead")]
        if over:
            still = await redis.hmget(LaneKeys(group).ledger, over)  # type: ignore[misc]  # typed for both clients
            found += [Disagreement(day, one, "ended") for one, there in zip(over, still, strict=True) if there]
    return found


async def _read_days(
    redis: Redis, key: str, day_of: Callable[[bytes], date], since: date | None
) -> AsyncIterator[dict[str, date]]:
    """Yield the jobs in a hash in batches, with the days of their rows; those of earlier days are left out."""
    cursor = 0
    while True:
        cursor, rows = await redis.hscan(key, cursor, count=_BATCH)
        found = {job_id.decode(errors="replace"): day_of(text) for job_id, text in rows.items()}
        yield {job_id: day for job_id, day in found.items() if since is None or day >= since}
        if not cursor:
            break


def _day_of_end(text: bytes) -> date:
    """Return the day in an end, in the same way."""
    try:
        return _EPOCH + timedelta(days=int(json.loads(text)["day"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return _EPOCH


def _day(since_1970: bytes) -> date:
    """Return the day of a live job's row; the first one if the value is not one, so that the job is named."""
    try:
        return _EPOCH + timedelta(days=int(since_1970))
    except (ValueError, OverflowError):
        return _EPOCH
