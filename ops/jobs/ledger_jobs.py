"""Jobs of the ledger that operators revive or cancel: Redis is changed inside a transaction of Postgres.

    revive    dead in Redis   its end is removed, so that it is live in both stores and can be handed over again
              lost by Redis   the same, and a relay hands it over
    cancel    staged          it ends as cancelled; Redis never had it

Redis is changed first, and Postgres commits last. If a connection breaks between both, repeat the command. Only
the marks of a dead job's effects are removed before that: once it is queued, a worker may begin its first attempt.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from redis.asyncio import Redis

from ledger.corrections import RevivedJob, remove_deaths, remove_marks
from ledger.live_jobs import make_pending
from ledger.recording_lock import exclude_recorders
from ledger.records import LedgerRecord, read_record
from ledger.schema import read_state
from ops.command import Tools
from ops.database_postgres import open_database
from ops.jobs.group import groups_of
from ops.ledger.records import demand_ledger
from producers.keys import LaneKeys
from reports.connection_postgres import Connection


@asynccontextmanager
async def open_ledger(tools: Tools) -> AsyncIterator[Connection | None]:
    """Lend a connection to the ledger; None if no database is set, or it has none.

    Raises:
        CommandRefused: the database does not answer, or its ledger belongs to another build.
    """
    if not tools.postgres_dsn:
        yield None
        return
    async with open_database(tools) as connection:
        if (await read_state(connection)).number is None:
            yield None
            return
        await demand_ledger(connection)
        yield connection


async def staged_record(tools: Tools, job_id: str) -> LedgerRecord | None:
    """Return the record of a job that Redis has not taken; None for any other. Raises CommandRefused."""
    async with open_ledger(tools) as ledger:
        found = None if ledger is None else await read_record(ledger, job_id)
    return found[0] if found is not None and found[0].state == "staged" else None


@asynccontextmanager
async def without_recorders(ledger: Connection) -> AsyncIterator[None]:
    """Open a transaction during which no ends are recorded. Raises DATABASE_FAULTS."""
    async with ledger.transaction():
        await exclude_recorders(ledger)
        yield


async def forget_effects(
    ledger: Connection, redis: Redis, group: Sequence[LaneKeys], job_ids: Sequence[str]
) -> None:
    """Remove the effect marks of the jobs among these that are dead in Redis.

    Raises:
        RedisError, OSError, DATABASE_FAULTS: a store did not answer; nothing was removed.
    """
    async with without_recorders(ledger):  # nor does another operator revive one meanwhile
        scores = [await redis.zmscore(keys.dead, list(job_ids)) for keys in group]
        dead = [job_id for job_id, *found in zip(job_ids, *scores, strict=True) if found != [None] * len(group)]
        await remove_marks(ledger, dead)


async def note_revived(
    ledger: Connection, redis: Redis, keys: LaneKeys, outcomes: Mapping[str, str]
) -> frozenset[str]:
    """Remove the ends of jobs that were revived in Redis; return those that a relay hands over instead.

    Args:
        ledger: in a transaction of :func:`without_recorders`.
        keys: of any lane of their group.
        outcomes: those of ``revive.lua``, by id. A job without its payload in Redis still has it in Postgres.
    """
    changed = [job_id for job_id, what in outcomes.items() if what in {"revived", "vanished"}]
    live = await remove_deaths(ledger, changed)
    staged = frozenset(job_id for job_id in live if outcomes[job_id] == "vanished")
    for job_id in staged:
        await redis.hdel(keys.ended, job_id)  # type: ignore[misc]  # typed for both clients
        await _stage_again(ledger, redis, live[job_id])
    return staged


async def revive_lost(
    ledger: Connection, redis: Redis, job_id: str
) -> tuple[Literal["staged", "erased", "not dead"], str]:
    """Hand over again a dead job of which Redis has no trace; return the outcome and its lane.

    A job that Redis has as live only loses its end: an earlier revival did not get that far.
    """
    async with without_recorders(ledger):
        known = await known_to_redis(redis, job_id)
        live = {} if known == "ended" else await remove_deaths(ledger, [job_id])
        if job_id in live and known == "":
            await remove_marks(ledger, [job_id])
            await _stage_again(ledger, redis, live[job_id])
            return "staged", live[job_id].lane
        found = await read_record(ledger, job_id)
    is_erased = known == "" and found is not None and found[0].state == "dead"
    return ("erased", found[0].lane) if is_erased and found is not None else ("not dead", "")


async def _stage_again(ledger: Connection, redis: Redis, job: RevivedJob) -> None:
    """Have a relay hand over a job of which Redis has only the result and the key.

    Because of these, the relay would take it for one that has ended. The key becomes that of a live job again.
    """
    await redis.delete(f"arq:result:{job.id}")
    name = f"momentus:{LaneKeys(job.lane).tag}:unique:{job.key}"
    if job.key and (await redis.get(name) or b"").endswith(f" {job.id}".encode()):
        await redis.persist(name)
    await make_pending(ledger, job.day, [job.id])


async def known_to_redis(redis: Redis, job_id: str) -> Literal["", "live", "ended"]:
    """Return what Redis holds of a job of the ledger. Raises RedisError, OSError."""
    ((keys, *_), *_) = await groups_of(redis, job_id)
    if await redis.hexists(keys.ended, job_id):  # type: ignore[misc]  # typed for both clients
        return "ended"
    return "live" if await redis.hexists(keys.ledger, job_id) else ""  # type: ignore[misc]  # as above
