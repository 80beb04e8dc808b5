"""Lists of jobs by state and filter, in pages: one model behind the command line and the console. It only reads.

    ready      could run now                           leased     runs
    scheduled  waits for its time                      dead       given up; the latest first
    retrying   waits after a failed attempt            uncertain  an effect of unknown outcome; the latest first
    parked     waits for a worker or a decision        limited    waits for the limit that it names

Each lane is scanned in steps that keep Redis busy for about a millisecond, and the steps of all lanes are merged
by time. A search ends when its page is full, its lanes are searched, or its time is up; its cursor then continues
it. The cursor has the place reached in each lane: jobs that come or go meanwhile may show twice or not at all, and
never stop a search.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from ops.jobs.filter import JobFilter
from ops.jobs.group import run_script
from ops.jobs.job import read_event
from ops.jobs.parked import read_parking
from ops.lanes.known import known_lanes
from producers.keys import LaneKeys, group_of

STEP = 300
"""Places per call of the script: about 1 ms."""
SECONDS = 0.25
"""Time after which a search shows what it has found."""
_KIND = re.compile(rb'"f":\s*"([^"\\]{1,64})"')
_TO = re.compile(rb'"to":\s*(?:\[\s*\{\s*"address"\s*:\s*)?"[^"]*@([^"@]{1,253})"')
_CURSOR = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,63}", re.ASCII)
_LATEST_FIRST = frozenset({"dead", "uncertain"})
_OF_QUEUE = frozenset({"ready", "scheduled", "retrying", "parked", "limited"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedJob:
    """One job of a list.

    Attributes:
        at: when it died, came due or is due, its lease ends, or its doubt was noted.
        kind: "" if its payload is gone or cannot be read.
        domain: of the first recipient of a mail; "" if it has none, or is sealed.
        attempt: of the last entry of its history; 0: none.
        reason: of that entry, or why it is parked; it may quote a server's reply, and with it an address.
    """

    id: str
    lane: str
    at: datetime
    kind: str
    domain: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """A page of a list.

    Attributes:
        cursor: where the next page begins; "" if this was the last.
        seen: how many places of all lanes have been searched, from the first page on.
        places: how many there are.
    """

    jobs: tuple[ListedJob, ...]
    cursor: str
    seen: int
    places: int


@dataclass(slots=True)
class _LaneScan:
    """Scan of one lane: places from `next` to `end` are unread; `found` are matches that are not shown yet."""

    keys: LaneKeys
    source: str
    next: int
    end: int
    found: deque[tuple[int, ListedJob]] = field(default_factory=deque)

    @property
    def reached(self) -> int:
        """The place from which a later page continues."""
        return self.found[0][0] if self.found else min(self.next, self.end)

    async def read_step(self, redis: Redis, wanted: JobFilter) -> None:
        """Read the next places."""
        reply = await self._ask(redis, wanted, "")
        rows = zip(reply[::5], reply[1::5], reply[2::5], reply[3::5], reply[4::5], strict=True)
        self.found.extend((place, _listed(self.keys.lane, wanted.state, *row)) for place, *row in rows)

    async def read_ids(self, redis: Redis, wanted: JobFilter) -> list[bytes]:
        """Read the next places, and return the matching ids alone."""
        return list(await self._ask(redis, wanted, "ids"))

    async def _ask(self, redis: Redis, wanted: JobFilter, what: str) -> Any:  # noqa: ANN401  as the script replies
        first, last = self.next, min(self.next + STEP, self.end) - 1
        reverse = "REV" if wanted.state in _LATEST_FIRST else ""
        keys = [self.source, self.keys.leases, self.keys.retrying, self.keys.parked, self.keys.held_back]
        filters = [wanted.kind, wanted.domain, wanted.error, what]
        arguments: list[str | int | bytes] = [self.keys.tag, wanted.state, first, last, reverse, *filters]
        self.next = last + 1
        return await run_script(redis, "find_jobs", keys, arguments)


async def find_ids(redis: Redis, wanted: JobFilter) -> list[tuple[str, bytes]]:
    """Return lane and id of all jobs that the filter matches, lane by lane.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found = list[tuple[str, bytes]]()
    for scan in await _begin_scans(redis, wanted, ""):
        while scan.next < scan.end:
            found += [(scan.keys.lane, job_id) for job_id in await scan.read_ids(redis, wanted)]
    return found


async def list_jobs(
    redis: Redis, wanted: JobFilter, *, limit: int, cursor: str = "", seconds: float = SECONDS
) -> JobList:
    """Return the next jobs that the filter matches, at most ``limit``.

    Args:
        cursor: that of the previous page; an invalid one starts at the beginning.
        seconds: time after which the search shows what it has.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    scans = await _begin_scans(redis, wanted, cursor)
    first, until, jobs = _order(wanted), time.monotonic() + seconds, list[ListedJob]()
    while len(jobs) < limit:
        if unread := next((one for one in scans if not one.found and one.next < one.end), None):
            if time.monotonic() > until:
                break
            await unread.read_step(redis, wanted)
        elif filled := [one for one in scans if one.found]:
            jobs.append(min(filled, key=lambda one: first(one.found[0][1])).found.popleft()[1])
        else:
            break
    return _page(scans, jobs)


def _page(scans: Sequence[_LaneScan], jobs: Sequence[ListedJob]) -> JobList:
    over = all(one.reached >= one.end and not one.found for one in scans)
    return JobList(
        jobs=tuple(jobs),
        cursor="" if over else ".".join(str(one.reached) for one in scans),
        seen=sum(one.reached for one in scans),
        places=sum(max(one.end, one.reached) for one in scans),
    )


def _order(wanted: JobFilter) -> Callable[[ListedJob], float]:
    sign = -1 if wanted.state in _LATEST_FIRST else 1
    return lambda job: sign * job.at.timestamp()


async def _begin_scans(redis: Redis, wanted: JobFilter, cursor: str) -> list[_LaneScan]:
    lanes = [wanted.lane] if wanted.lane else await known_lanes(redis)
    if wanted.state == "uncertain":
        lanes = list({group_of(lane): lane for lane in lanes}.values())  # one list for all lanes of a group
    places = [int(one) for one in cursor.split(".")] if _CURSOR.fullmatch(cursor) else []
    places = places if len(places) == len(lanes) else [0] * len(lanes)
    now_ms = await _now_ms(redis)
    return [
        await _begin_scan(redis, wanted, LaneKeys(lane), place, now_ms)
        for lane, place in zip(lanes, places, strict=True)
    ]


async def _begin_scan(redis: Redis, wanted: JobFilter, keys: LaneKeys, place: int, now_ms: int) -> _LaneScan:
    """Return the scan of a lane: the filter's ages as places, which cost no search."""
    source = keys.queue if wanted.state in _OF_QUEUE else getattr(keys, _SOURCES[wanted.state])
    since = "-inf" if wanted.newer is None else now_ms - _milliseconds(wanted.newer)
    until = "+inf" if wanted.older is None else now_ms - _milliseconds(wanted.older)
    if wanted.state in _LATEST_FIRST:
        first = 0 if until == "+inf" else await redis.zcount(source, f"({until}", "+inf")
        end = await redis.zcount(source, since, "+inf")
    elif wanted.state == "ready":
        first = 0 if since == "-inf" else await redis.zcount(source, "-inf", f"({since}")
        end = await redis.zcount(source, "-inf", now_ms if until == "+inf" else until)
    else:
        first = await redis.zcount(source, "-inf", now_ms) if wanted.state in _OF_QUEUE else 0
        end = await redis.zcard(source)
    return _LaneScan(keys, source, max(first, place), end)


_SOURCES = {"leased": "leases", "dead": "dead", "uncertain": "uncertain"}


def _listed(lane: str, state: str, job_id: bytes, score: int, head: bytes, last: bytes) -> ListedJob:
    kind, to = _KIND.search(head), _TO.search(head)
    event, parking = (None, read_parking(last)) if state == "parked" else (read_event(last), None)
    return ListedJob(
        id=job_id.decode(errors="replace"),
        lane=lane,
        at=_moment(score),
        kind=kind[1].decode(errors="replace") if kind else "",
        domain=to[1].decode(errors="replace").lower() if to else "",
        attempt=event.attempt if event else 0,
        reason=event.reason if event else f"{parking.why}: {parking.needs or parking.reason}" if parking else "",
    )


def _milliseconds(length: timedelta) -> int:
    return round(length / timedelta(milliseconds=1))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(0, milliseconds), _END_OF_CALENDAR_MS) / 1000, UTC)


_END_OF_CALENDAR_MS = 253_402_300_799_000


async def _now_ms(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
