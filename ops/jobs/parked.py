"""Parked jobs: waiting jobs that no worker is to take yet, and why. Listing only reads.

    kind      no worker that has looked at it handles its kind
    version   it was written by newer code than any worker that has looked at it
    others    a handler's word: people must decide first

A worker that knows the kind and the version lets the first two go by itself when it starts. The rest wait for
`ops unpark`, which may be used on any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from redis.asyncio import Redis

from ops.jobs.group import groups_of, run_script, script_keys
from producers.keys import LaneKeys

UnparkOutcome = Literal["unparked", "not parked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkReason:
    """Why a job is parked.

    Attributes:
        why: see the module.
        needs: ``kind@version`` that a worker must know; "" for what waits for people.
        reason: a server's words may be in it, and with them an address.
    """

    why: str
    needs: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedJob:
    """A job that waits aside."""

    id: str
    lane: str
    parking: ParkReason


def read_parking(octets: bytes) -> ParkReason | None:
    """The note beside a parked job; None for no note, and one that cannot be read says so."""
    if not octets:
        return None
    try:
        told = orjson.loads(octets)
        return ParkReason(why=str(told["why"]), needs=str(told["needs"]), reason=str(told["reason"]))
    except (ValueError, TypeError, KeyError):
        return ParkReason(why="unreadable", needs="", reason="its note cannot be read")


async def list_parked(redis: Redis, lanes: Sequence[str], *, limit: int) -> list[ParkedJob]:
    """Parked jobs of these lanes, in no order, at most ``limit``.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found: list[ParkedJob] = []
    for lane in lanes:
        async for job_id, note in redis.hscan_iter(LaneKeys(lane).parked, count=limit):
            if len(found) == limit:
                return found
            if parking := read_parking(note):
                found.append(ParkedJob(id=job_id.decode(errors="replace"), lane=lane, parking=parking))
    return found


async def unpark(redis: Redis, job_id: str) -> tuple[UnparkOutcome, str]:
    """Let a parked job go; what came of it, and its lane.

    Raises:
        RedisError, OSError: Redis did not answer; it may be asked for again.
    """
    for group in groups_of(job_id):
        keys = script_keys(group, [], ["parked", "queue", "wake"])
        what, lane = await run_script(redis, "unpark", keys, [group[0].tag, job_id, *(one.lane for one in group)])
        if lane:
            return what.decode(), lane.decode()
    return "not parked", ""
