"""Dead jobs for operators: the latest first, each with the reason. It only reads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis

from ops.jobs.group import run_script
from ops.jobs.job import read_event
from producers.keys import LaneKeys

_KIND = re.compile(rb'"f":\s*"([^"\\]{1,64})"')
"""Matched in the head of a payload; this queue's payloads and arq's both name the kind before any value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadJob:
    """A dead job.

    Attributes:
        kind: "" if its payload is gone or cannot be read.
        attempt: the number of the last attempt; 0: unknown.
        reason: why it was given up; it may quote a server's reply, and with it an address.
    """

    id: str
    lane: str
    at: datetime
    kind: str
    attempt: int
    reason: str


async def list_dead(redis: Redis, lanes: Sequence[str], *, limit: int) -> list[DeadJob]:
    """List the latest dead jobs of these lanes together, at most ``limit``.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found = [job for lane in lanes for job in await _list_lane(redis, LaneKeys(lane), limit)]
    return sorted(found, key=lambda job: job.at, reverse=True)[:limit]


async def _list_lane(redis: Redis, keys: LaneKeys, limit: int) -> list[DeadJob]:
    reply = await run_script(redis, "list_dead", [keys.dead], [keys.tag, limit])
    fours = zip(reply[::4], reply[1::4], reply[2::4], reply[3::4], strict=True)
    return [_dead(keys.lane, *four) for four in fours]


def _dead(lane: str, job_id: bytes, at_ms: int, head: bytes, last: bytes) -> DeadJob:
    kind = _KIND.search(head)
    event = read_event(last)
    return DeadJob(
        id=job_id.decode(errors="replace"),
        lane=lane,
        at=datetime.fromtimestamp(at_ms / 1000, UTC),
        kind=kind[1].decode(errors="replace") if kind else "",
        attempt=event.attempt if event else 0,
        reason=event.reason if event else "",
    )
