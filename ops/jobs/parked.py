"""Parked jobs: waiting jobs that no worker may take yet, and why. Listing only reads.

    kind      no worker that claimed it handles its kind
    version   its code is newer than that of every worker that claimed it
    others    its handler requires an operator's decision

A worker that knows the kind and the version unparks jobs of the first two types when it starts. The rest wait for
`ops unpark`, which accepts any of them.
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
    """Reason why a job is parked.

    Attributes:
        why: see the module.
        needs: the ``kind@version`` that a worker must know; "" if it waits for an operator.
        reason: may quote a server's reply, and with it an address.
    """

    why: str
    needs: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedJob:
    """A parked job."""

    id: str
    lane: str
    parking: ParkReason


def read_parking(note: bytes) -> ParkReason | None:
    """Read the note of a parked job; None without a note."""
    if not note:
        return None
    try:
        fields = orjson.loads(note)
        return ParkReason(why=str(fields["why"]), needs=str(fields["needs"]), reason=str(fields["reason"]))
    except (ValueError, TypeError, KeyError):
        return ParkReason(why="unreadable", needs="", reason="its note cannot be read")


async def list_parked(redis: Redis, lanes: Sequence[str], *, limit: int) -> list[ParkedJob]:
    """List parked jobs of these lanes, in no order, at most ``limit``.

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


async def unpark_job(redis: Redis, job_id: str) -> tuple[UnparkOutcome, str]:
    """Return a parked job to its lane; return the outcome and the lane.

    Raises:
        RedisError, OSError: Redis did not answer; the call may be repeated.
    """
    for group in await groups_of(redis, job_id):
        keys = script_keys(group, [], ["parked", "queue", "wake"])
        what, lane = await run_script(redis, "unpark", keys, [group[0].tag, job_id, *(one.lane for one in group)])
        if lane:
            return what.decode(), lane.decode()
    return "not parked", ""
