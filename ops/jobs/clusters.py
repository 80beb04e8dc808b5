"""Clusters of dead jobs with one kind, template, recipient domain, SMTP code and error, its details left out.

`550 5.1.1 user4711 unknown` and `550 5.1.1 user4712 unknown` are one error. A lane is read in steps of about a
millisecond, the latest deaths first, until the time is up; the counts are then those of the jobs read so far.
It only reads.
"""

import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from redis.asyncio import Redis

from ops.jobs.group import run_script
from ops.lanes.known import known_lanes
from producers.keys import LaneKeys

STEP = 100
HOURS = 24
_PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCluster:
    """Dead jobs of one lane that failed in the same way.

    Attributes:
        code: the server's reply code; "" if the reason does not begin with one.
        template: the one that made the mail; "" for another job, and for mails without one or of an earlier build.
        error: the reason without attempt, code, digits and addresses.
        first, last: the earliest and the latest death.
        hours: deaths in each hour of the last day, the oldest first; the last one ends now.
    """

    lane: str
    kind: str
    domain: str
    code: str
    template: str
    error: str
    count: int
    first: datetime
    last: datetime
    hours: tuple[int, ...] = (0,) * HOURS

    @property
    def key(self) -> bytes:
        """The key by which the script knows it."""
        text = f"{self.kind}\n{self.domain}\n{self.code}\n{self.template}\n{self.error}"
        return text.encode("utf-8", "surrogateescape")

    @property
    def token(self) -> str:
        """The key in characters that a form can carry."""
        return urlsafe_b64encode(self.key).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterList:
    """Clusters, the largest first; `seen` of `dead` jobs were read."""

    clusters: tuple[FailureCluster, ...]
    seen: int
    dead: int


async def list_clusters(redis: Redis, *, lanes: Sequence[str] = (), seconds: float = 2.0) -> ClusterList:
    """Group the dead jobs of these lanes, by default of all.

    Args:
        seconds: time after which the rest is not read.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    until, found, seen, dead = time.monotonic() + seconds, dict[tuple[str, bytes], FailureCluster](), 0, 0
    now_ms = round((await redis.time())[0]) * 1000
    for lane in lanes or await known_lanes(redis):
        keys = LaneKeys(lane)
        places = await redis.zcard(keys.dead)
        dead += places
        for first in range(0, places, STEP):
            if time.monotonic() > until:
                break
            for one in await _read_step(redis, keys, first, now_ms):
                known = found.get((lane, one.key))
                found[lane, one.key] = one if known is None else _joined(known, one)
            seen += min(STEP, places - first)
    ordered = sorted(found.values(), key=lambda one: (-one.count, one.key))
    return ClusterList(clusters=tuple(ordered), seen=seen, dead=dead)


def key_of_token(token: str) -> bytes:
    """Return the key in a form's token; empty if it is not one.

    >>> key_of_token("eA=="), key_of_token("ä")
    (b'x', b'')
    """
    try:
        return b64decode(token.encode(), altchars=b"-_", validate=True)
    except ValueError:
        return b""


async def jobs_of_cluster(redis: Redis, lane: str, key: bytes) -> AsyncIterator[bytes]:
    """Yield the ids of all dead jobs of a cluster, the latest first. Raises RedisError, OSError."""
    keys = LaneKeys(lane)
    for first in range(0, await redis.zcard(keys.dead), STEP):
        for job_id in await run_script(
            redis, "find_clusters", [keys.dead], [keys.tag, first, first + STEP - 1, key, 0]
        ):
            yield job_id


async def _read_step(redis: Redis, keys: LaneKeys, first: int, now_ms: int) -> list[FailureCluster]:
    arguments: list[str | int | bytes] = [keys.tag, first, first + STEP - 1, "", now_ms]
    reply = await run_script(redis, "find_clusters", [keys.dead], arguments)
    rows = zip(*(reply[at::5] for at in range(5)), strict=True)
    return [_cluster(keys.lane, *row) for row in rows]


def _cluster(lane: str, key: bytes, count: int, first_ms: int, last_ms: int, hours: bytes) -> FailureCluster:
    kind, domain, code, template, error = key.decode("utf-8", "surrogateescape").split("\n", _PARTS - 1)
    return FailureCluster(
        lane=lane,
        kind=kind,
        domain=domain,
        code=code,
        template=template,
        error=error,
        count=count,
        first=datetime.fromtimestamp(first_ms / 1000, UTC),
        last=datetime.fromtimestamp(last_ms / 1000, UTC),
        hours=read_hours(hours.decode()),
    )


def read_hours(text: str) -> tuple[int, ...]:
    """Return the deaths per hour that the script has written, the oldest hour first.

    >>> read_hours("0:3 22:1")[:2], read_hours("0:3 22:1")[-1]
    ((0, 1), 3)
    """
    counts = {int(ago): int(count) for ago, count in (part.split(":") for part in text.split())}
    return tuple(counts.get(ago, 0) for ago in reversed(range(HOURS)))


def _joined(one: FailureCluster, other: FailureCluster) -> FailureCluster:
    return replace(
        one,
        count=one.count + other.count,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        hours=tuple(mine + theirs for mine, theirs in zip(one.hours, other.hours, strict=True)),
    )
