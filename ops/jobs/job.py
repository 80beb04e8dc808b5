"""One job as it stands in Redis: its state, its attempts and its history. This module writes nothing.

    ready      could run now
    scheduled  waits for its time
    retrying   the same, and it has failed before
    parked     waits for a worker that can run it, or for people
    leased     runs now
    dead       given up, and kept until people decide
    done       it has ended, and its result is still kept
    suppressed the same, and it was not carried out: a mail whose recipient is on the suppression list
    expired    its deadline passed before it could begin, and its result is still kept
    unknown    nothing is left of it: done long ago, discarded, cancelled, or it never was

Of a payload only the kind and the names of the fields come out of here; the values are private.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from ops.jobs.group import groups_of, run_script, script_keys
from ops.jobs.parked import ParkReason, read_parking
from producers.envelope import Envelope, UnreadableEnvelope, read_envelope
from producers.keys import LaneKeys

State = Literal[
    "ready", "scheduled", "retrying", "parked", "leased", "dead", "done", "suppressed", "expired", "unknown"
]


_END_OF_CALENDAR_MS = 253_402_300_799_000
_END: Mapping[tuple[Any, Any], State] = {
    (True, None): "done",
    (True, "suppressed"): "suppressed",
    (False, "expired"): "expired",
}
"""By the result's word on success, and on the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
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
class JobProgress:
    """How far a running job is, in its handler's own unit."""

    at: datetime
    done: float
    total: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job at an instant.

    Attributes:
        at: the instant, by Redis's clock.
        lane: "" when it is unknown.
        since: when it became due, dead or done; of a leased job, when its lease lapses unless renewed; of a parked
            one, when it is looked at again in any case.
        expires: its deadline, if its sender gave one.
        version: of its payload.
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
    expires: datetime | None = None
    version: int = 1
    parking: ParkReason | None = None
    progress: JobProgress | None = None
    history: tuple[HistoryEvent, ...] = ()


async def read_job(redis: Redis, job_id: str) -> Job:
    """Look a job up.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found = [await _read_job_in(redis, group, job_id) for group in groups_of(job_id)]
    return next((job for job in found if job.state != "unknown"), found[0])


async def _read_job_in(redis: Redis, group: Sequence[LaneKeys], job_id: str) -> Job:
    keys = script_keys(group, ["cancelled", "progress"], ["queue", "leases", "retrying", "dead", "parked"])
    reply = await run_script(redis, "look", keys, [group[0].tag, job_id, *(one.lane for one in group)])
    return _job(job_id, reply)


def _job(job_id: str, reply: list[Any]) -> Job:
    now, payload, result, failed, token, stopping, history, told, *place = reply
    events = tuple(event for octets in history if (event := read_event(octets)))
    at = _moment(now)
    if not place:
        return _ended(job_id, at, result, events)
    lane, state, score, before, note = place
    envelope, parking = _envelope(payload), read_parking(note)
    for_people = parking is not None and parking.why not in {"kind", "version"}
    claim, _, attempt = token.decode(errors="replace").rpartition(":")
    worker = claim.partition("-")[0]
    return Job(
        id=job_id,
        at=at,
        state=state.decode(),
        lane=lane.decode(),
        since=None if for_people else _moment(score),
        attempt=_attempt(state.decode(), attempt, failed, events),
        place=None if before < 0 else before,
        kind=envelope.kind,
        fields=tuple(envelope.payload),
        worker=worker,
        stopping=bool(stopping),
        expires=None if envelope.expires_ms is None else _moment(envelope.expires_ms),
        version=envelope.payload_version,
        parking=parking,
        progress=_progress(told, attempt) if state == b"leased" else None,
        history=events,
    )


def _attempt(state: str, running: str, failed: int, history: Sequence[HistoryEvent]) -> int:
    if state == "dead":
        return max((event.attempt for event in history), default=0)
    return int(running) if running.isdigit() else failed + 1


def _ended(job_id: str, at: datetime, result: bytes, history: tuple[HistoryEvent, ...]) -> Job:
    """A job that is neither waiting, running nor dead, from its result if that is still kept."""
    told = _mapping(result)
    state = _END.get((told.get("s"), told.get("o")))
    if state is None:
        return Job(id=job_id, at=at, state="unknown", history=history)
    return Job(
        id=job_id,
        at=at,
        state=state,
        lane=str(told.get("q", "")),
        since=_moment(int(told.get("ft", 0))),
        attempt=int(told.get("t", 0)),
        kind=str(told.get("f", "")),
        history=history,
    )


def _envelope(payload: bytes) -> Envelope:
    """The job; one without a kind and fields for what is none of ours, nor of arq in JSON."""
    try:
        return read_envelope(payload)
    except UnreadableEnvelope:
        return Envelope("", [], {}, 0)


def _progress(octets: bytes, attempt: str) -> JobProgress | None:
    """What the running attempt has told of itself."""
    told = _mapping(octets)
    if str(told.get("attempt")) != attempt:
        return None
    try:
        return JobProgress(
            at=_moment(int(told["at_ms"])),
            done=float(told["done"]),
            total=float(told["total"]),
            note=str(told["note"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def read_event(octets: bytes) -> HistoryEvent | None:
    """A line of a history; None for one that cannot be read."""
    told = _mapping(octets)
    try:
        return HistoryEvent(
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
    """An instant; a foreign score may lie beyond the calendar."""
    return datetime.fromtimestamp(min(max(0, milliseconds), _END_OF_CALENDAR_MS) / 1000, UTC)
