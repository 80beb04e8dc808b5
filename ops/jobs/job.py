"""One job as it stands in Redis: its state, its attempts and its history. This module writes nothing.

    ready      could run now
    scheduled  waits for its time
    retrying   the same, and it has failed before
    leased     runs now
    dead       given up, and kept until people decide
    done       it has ended, and its result is still kept
    unknown    nothing is left of it: done long ago, discarded, cancelled, or it never was

Of a payload only the kind and the names of the fields come out of here; the values are private.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from ops.jobs.group import groups_of, names, run
from producers.envelope import UnreadableEnvelope, read_envelope
from producers.keys import LaneKeys

State = Literal["ready", "scheduled", "retrying", "leased", "dead", "done", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a job's history.

    Attributes:
        attempt: 0 for what people did.
        reason: a server's words may be in it, and with them an address.
    """

    at: datetime
    attempt: int
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job at an instant.

    Attributes:
        at: the instant, by Redis's clock.
        lane: "" when it is unknown.
        since: when it became due, dead or done; of a leased job, when its lease lapses unless renewed.
        attempt: the one that runs, or the next one, or the last one of a dead or done job; 0: not known.
        place: how many ready jobs are to be taken before it; None when it is not ready.
        kind: "" when its payload is gone or cannot be read.
        fields: the names of its payload's fields.
        worker: who runs it, "" for nobody.
        stopping: it runs, and somebody has asked to stop it.
    """

    id: str
    at: datetime
    state: State
    lane: str = ""
    since: datetime | None = None
    attempt: int = 0
    place: int | None = None
    kind: str = ""
    fields: tuple[str, ...] = ()
    worker: str = ""
    stopping: bool = False
    history: tuple[Event, ...] = ()


async def look(redis: Redis, job_id: str) -> Job:
    """Look a job up.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found = [await _look_in(redis, group, job_id) for group in groups_of(job_id)]
    return next((job for job in found if job.state != "unknown"), found[0])


async def _look_in(redis: Redis, group: Sequence[LaneKeys], job_id: str) -> Job:
    keys = names(group, ["cancelled"], ["queue", "leases", "retrying", "dead"])
    reply = await run(redis, "look", keys, [group[0].tag, job_id, *(one.lane for one in group)])
    return _job(job_id, reply)


def _job(job_id: str, reply: list[Any]) -> Job:
    now, payload, result, failed, token, stopping, history, *place = reply
    events = tuple(event for octets in history if (event := read_event(octets)))
    kind, fields = kind_and_fields(payload)
    at = _moment(now)
    if not place:
        return _ended(job_id, at, result, events)
    lane, state, score, before = place
    claim, _, attempt = token.decode(errors="replace").rpartition(":")
    worker = claim.partition("-")[0]
    return Job(
        id=job_id,
        at=at,
        state=state.decode(),
        lane=lane.decode(),
        since=_moment(score),
        attempt=_attempt(state.decode(), attempt, failed, events),
        place=None if before < 0 else before,
        kind=kind,
        fields=fields,
        worker=worker,
        stopping=bool(stopping),
        history=events,
    )


def _attempt(state: str, running: str, failed: int, history: Sequence[Event]) -> int:
    if state == "dead":
        return max((event.attempt for event in history), default=0)
    return int(running) if running.isdigit() else failed + 1


def _ended(job_id: str, at: datetime, result: bytes, history: tuple[Event, ...]) -> Job:
    """A job that is neither waiting, running nor dead, from its result if that is still kept."""
    told = _mapping(result)
    if told.get("s") is not True:
        return Job(id=job_id, at=at, state="unknown", history=history)
    return Job(
        id=job_id,
        at=at,
        state="done",
        lane=str(told.get("q", "")),
        since=_moment(int(told.get("ft", 0))),
        attempt=int(told.get("t", 0)),
        kind=str(told.get("f", "")),
    )


def kind_and_fields(payload: bytes) -> tuple[str, tuple[str, ...]]:
    """The kind, and the names of the fields; empty for what is no job of ours or of arq in JSON."""
    try:
        envelope = read_envelope(payload)
    except UnreadableEnvelope:
        return "", ()
    return str(envelope.kind), tuple(str(name) for name in envelope.payload)


def read_event(octets: bytes) -> Event | None:
    """A line of a history; None for one that cannot be read."""
    told = _mapping(octets)
    try:
        return Event(
            at=_moment(int(told["at_ms"])),
            attempt=int(told.get("attempt", 0)),
            outcome=str(told["outcome"]),
            reason=str(told.get("reason", "")),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _mapping(octets: bytes) -> Mapping[str, Any]:
    try:
        told = orjson.loads(octets)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
