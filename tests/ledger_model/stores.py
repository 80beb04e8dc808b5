"""Both stores as sets, and what is done to Redis: emptied, brought back to an earlier state, moved on in time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

from jobs.lanes import GROUPS
from producers.keys import LaneKeys

LANES = ("mail.normal", "jobs")
_STEP_CLOCK = (Path(__file__).parents[1] / "model" / "step_clock.lua").read_text(encoding="utf-8")


@dataclass(slots=True)
class Stores:
    """What both hold at one instant at which no step is under way; a step that rests may be half done.

    Attributes:
        jobs, pending, ends: rows of Postgres; ends with state and last words.
        live: Redis' jobs of the ledger, by id their days.
        unrecorded: ends in Redis.
        queued: ids in the queues, waiting or leased.
        dead: ids that were given up.
        stopping: running jobs that are to be stopped.
        counted: attempts of which the ledger says that their effects were counted as uncertain.
    """

    jobs: dict[str, date] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    unrecorded: set[str] = field(default_factory=set)
    queued: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    stopping: set[str] = field(default_factory=set)
    counted: set[tuple[str, int]] = field(default_factory=set)

    @property
    def lost(self) -> set[str]:
        """Live jobs that neither store will have run."""
        return self.jobs.keys() - self.ends.keys() - self.pending - self.live - self.unrecorded

    @property
    def stale(self) -> set[str]:
        """Live jobs of Redis that have ended."""
        return {job_id for job_id in self.live & self.ends.keys() if self.ends[job_id][0] != "dead"}


async def read_stores(connection: asyncpg.Connection, redis: Redis) -> Stores:
    """Read all that there is."""
    jobs = await connection.fetch("SELECT id, day FROM momentus_ledger.jobs")
    pending = await connection.fetch("SELECT id FROM momentus_ledger.pending")
    ends = await connection.fetch("SELECT id, state, reply FROM momentus_ledger.ends")
    counted = await connection.fetch("SELECT id, attempt FROM momentus_ledger.effects WHERE counted")
    found = Stores(
        {row["id"]: row["day"] for row in jobs},
        {row["id"] for row in pending},
        {row["id"]: (row["state"], row["reply"]) for row in ends},
        counted={(row["id"], row["attempt"]) for row in counted},
    )
    async with redis.pipeline(transaction=False) as pipe:
        for group in GROUPS:
            keys = LaneKeys(group)
            for name in (keys.ledger, keys.ended):
                pipe.hkeys(name)
            pipe.smembers(keys.cancelled)
        for lane in LANES:
            for name in (LaneKeys(lane).queue, LaneKeys(lane).dead):
                pipe.zrange(name, 0, -1)
        replies = [{one.decode() for one in reply} for reply in await pipe.execute()]
    by_group, by_lane = replies[: 3 * len(GROUPS)], replies[3 * len(GROUPS) :]
    found.live, found.unrecorded, found.stopping = (set().union(*by_group[at::3]) for at in range(3))
    found.queued, found.dead = (set().union(*by_lane[at::2]) for at in range(2))
    return found


@dataclass(frozen=True, slots=True)
class SavedRedis:
    """An earlier state of Redis.

    Attributes:
        keys: by name, what DUMP says and when it expires (ms; 0: never).
        passed_ms: how much time had passed in the machine.
    """

    keys: Mapping[bytes, tuple[bytes, int]]
    passed_ms: int


async def save(redis: Redis, passed_ms: int) -> SavedRedis:
    """Keep the present state."""
    names = await redis.keys("*")
    async with redis.pipeline(transaction=True) as pipe:
        for name in names:
            pipe.dump(name)
            pipe.pexpiretime(name)
        replies = await pipe.execute()
    return SavedRedis(
        {name: (replies[2 * at], max(0, replies[2 * at + 1])) for at, name in enumerate(names)}, passed_ms
    )


async def go_back(redis: Redis, saved: SavedRedis, passed_ms: int) -> None:
    """Bring an earlier state back, as a server does that lost the latest writes; time has passed since."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for name, (content, expires_ms) in saved.keys.items():
            pipe.restore(name, expires_ms, content, absttl=True)
        await pipe.execute()
    await let_pass(redis, passed_ms - saved.passed_ms)


async def let_pass(redis: Redis, milliseconds: int) -> None:
    """Let so much time pass for Redis; see tests/model/clock.py."""
    await redis.eval(_STEP_CLOCK, 0, str(milliseconds))


async def empty(connection: Any, redis: Redis) -> None:
    """Remove all jobs from both stores."""
    await connection.execute(
        "DELETE FROM momentus_ledger.pending; DELETE FROM momentus_ledger.jobs;"
        "DELETE FROM momentus_ledger.effects; DELETE FROM momentus_ledger.ends"
    )
    await redis.flushall()
