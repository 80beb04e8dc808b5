"""What people change: revive, discard and cancel jobs. Each is one script, atomic, and safe to ask for twice.

    revive    dead -> ready, as if never tried; the history stays
    discard   dead or waiting -> gone, counted as discarded
    cancel    waiting -> gone, counted as cancelled; running -> told to stop, then the same

What can go wrong: Redis away after the change was made and before it was told; ask again, and the answer says
how it stands. A running handler stops at its worker's next renewal; a mail that was on its way out by then is
counted as uncertain. A key under which a job was sent stays taken: the same key queues nothing anew.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis

from ops.jobs.group import groups_of, names, run
from producers.keys import LaneKeys

Revived = Literal["revived", "vanished", "not dead"]
TakenOut = Literal["gone", "stopping", "told", "running", "foreign", "dead", "unknown"]

_BATCH = 1000
_SHARED = ("counters", "lapses", "effects", "adopted", "next", "cancelled")
_EACH = ("queue", "leases", "retrying", "dead", "wake")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevivedAll:
    """How many of a lane were revived, and how many had no payload any more."""

    revived: int
    vanished: int


async def revive(redis: Redis, job_id: str) -> tuple[Revived, str]:
    """Bring a dead job back; what came of it, and its lane ("" when it was not dead).

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    for group in groups_of(job_id):
        ((what, lane),) = await _revive(redis, group, [job_id])
        if lane:
            return what, lane
    return "not dead", ""


async def revive_all(redis: Redis, lane: str) -> RevivedAll:
    """Bring back all jobs of a lane that are dead now, a thousand at a time.

    One that dies again meanwhile stays dead, so this ends.

    Raises:
        RedisError, OSError: Redis did not answer; those before are revived.
    """
    counts: dict[Revived, int] = {"revived": 0, "vanished": 0, "not dead": 0}
    async for job_ids in _dead_until_now(redis, LaneKeys(lane)):
        for what, _ in await _revive(redis, [LaneKeys(lane)], job_ids):
            counts[what] += 1
    return RevivedAll(revived=counts["revived"], vanished=counts["vanished"])


async def discard(redis: Redis, job_id: str) -> tuple[TakenOut, str]:
    """Take a dead or waiting job out for good; what came of it, and its lane.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return await _take_out(redis, job_id, "discarded")


async def cancel(redis: Redis, job_id: str) -> tuple[TakenOut, str]:
    """Take a waiting job out for good, or have a running one stopped; what came of it, and its lane.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    return await _take_out(redis, job_id, "cancelled")


async def _revive(redis: Redis, group: Sequence[LaneKeys], job_ids: Sequence[str]) -> list[tuple[Revived, str]]:
    keys = names(group, ["counters", "adopted"], ["dead", "queue", "wake"])
    lanes = [one.lane for one in group]
    reply = await run(redis, "revive", keys, [group[0].tag, len(lanes), *lanes, *job_ids])
    return [(what.decode(), lane.decode()) for what, lane in zip(reply[::2], reply[1::2], strict=True)]


async def _dead_until_now(redis: Redis, keys: LaneKeys) -> AsyncIterator[list[str]]:
    """Batches of those that were dead at the start; whoever gets one takes it out before asking for the next."""
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    while job_ids := await redis.zrangebyscore(keys.dead, "-inf", now_ms, start=0, num=_BATCH):
        yield [job_id.decode() for job_id in job_ids]


async def _take_out(redis: Redis, job_id: str, event: str) -> tuple[TakenOut, str]:
    for group in groups_of(job_id):
        keys = names(group, _SHARED, _EACH)
        arguments = [group[0].tag, job_id, event, *(one.lane for one in group)]
        what, lane = await run(redis, "take_out", keys, arguments)
        if lane:
            return what.decode(), lane.decode()
    return "unknown", ""
