"""One job in Redis: its state, attempts and history. This module only reads.

    staged     is in the ledger alone (`explain_staged`); Redis has not taken it
    ready      could run now
    scheduled  waits for its time
    retrying   waits for its time after a failed attempt
    parked     waits for a worker that can run it, or for an operator's decision
    leased     is running
    dead       given up, and kept until an operator decides
    done       it has ended, and its result is still kept
    suppressed it has ended without being sent: the recipient is on the suppression list
    expired    its deadline passed before it started, and its result is still kept
    unknown    no trace is left: done long ago, discarded, cancelled, or it never existed

Of a payload this module returns only the kind and the names of the fields; the values are private.
"""

import re
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

_TRACEPARENT = re.compile("(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

State = Literal[
    "staged",
    "ready",
    "scheduled",
    "retrying",
    "parked",
    "leased",
    "dead",
    "done",
    "suppressed",
    "expired",
    "unknown",
]


_END_OF_CALENDAR_MS = 253_402_300_799_000
_END: Mapping[tuple[Any, Any], State] = {
    (True, None): "done",
    (True, "suppressed"): "suppressed",
    (False, "expired"): "expired",
}
"""The state by the result's success and outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """One entry of a job's history.

    Attributes:
        attempt: 0 for an operator's action.
        reason: may quote a server's reply, and with it an address.
    """

    at: datetime
    attempt: int
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Progress of a running job, in its handler's own unit."""

    at: datetime
    done: float
    total: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job at an instant.

    Attributes:
        at: the instant, by Redis's clock.
        lane: "" if it is unknown.
        since: the instant at which it was staged, became due, dead or done; for a leased job, the end of its lease
            unless renewed; for a parked one, the next check in any case.
        expires: its deadline, if its sender gave one.
        version: the version of its payload.
        attempt: the one that runs, or the next one, or the last one of a dead or done job; 0: unknown.
        place: number of ready jobs that workers claim before it; None if it is not ready.
        kind: "" if its payload is gone or cannot be read.
        fields: the names of its payload's fields.
        worker: the worker that runs it, "" for none.
        stopping: it runs, and its sender or an operator has asked to stop it.
        trace: id of the trace that its sender was in; "" for none.
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
    trace: str = ""


async def read_job(redis: Redis, job_id: str) -> JobState:
    """Read a job.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found = [await _read_job_in(redis, group, job_id) for group in await groups_of(redis, job_id)]
    return next((job for job in found if job.state != "unknown"), found[0])


async def _read_job_in(redis: Redis, group: Sequence[LaneKeys], job_id: str) -> JobState:
    keys = script_keys(group, ["cancelled", "progress"], ["queue", "leases", "retrying", "dead", "parked"])
    reply = await run_script(redis, "look", keys, [group[0].tag, job_id, *(one.lane for one in group)])
    return _job(job_id, reply)


def _job(job_id: str, reply: list[Any]) -> JobState:
    now, payload, result, failed, token, stopping, history, progress, *place = reply
    events = tuple(event for line in history if (event := read_event(line)))
    at = _moment(now)
    if not place:
        return _ended(job_id, at, result, events)
    lane, state, score, before, note = place
    envelope, parking = _envelope(payload), read_parking(note)
    for_people = parking is not None and parking.why not in {"kind", "version"}
    claim, _, attempt = token.decode(errors="replace").rpartition(":")
    worker = claim.partition("-")[0]
    return JobState(
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
        progress=_progress(progress, attempt) if state == b"leased" else None,
        history=events,
        trace=_trace_id(envelope.traceparent),
    )


def _trace_id(traceparent: object) -> str:
    """Return the id in a context of W3C Trace Context.

    >>> _trace_id("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    '0af7651916cd43dd8448eb211c80319c'
    """
    found = _TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    return found[1] if found else ""


def _attempt(state: str, running: str, failed: int, history: Sequence[HistoryEvent]) -> int:
    if state == "dead":
        return max((event.attempt for event in history), default=0)
    return int(running) if running.isdigit() else failed + 1


def _ended(job_id: str, at: datetime, result: bytes, history: tuple[HistoryEvent, ...]) -> JobState:
    """Return a job that is not waiting, running or dead, from its result if that is still kept."""
    fields = _mapping(result)
    state = _END.get((fields.get("s"), fields.get("o")))
    if state is None:
        return JobState(id=job_id, at=at, state="unknown", history=history)
    return JobState(
        id=job_id,
        at=at,
        state=state,
        lane=str(fields.get("q", "")),
        since=_moment(int(fields.get("ft", 0))),
        attempt=int(fields.get("t", 0)),
        kind=str(fields.get("f", "")),
        history=history,
    )


def _envelope(payload: bytes) -> Envelope:
    """Read the payload; return an empty envelope if it is in no known format."""
    try:
        return read_envelope(payload)
    except UnreadableEnvelope:
        return Envelope("", [], {}, 0)


def _progress(stored: bytes, attempt: str) -> JobProgress | None:
    """Read the progress that the running attempt reported, or None."""
    fields = _mapping(stored)
    if str(fields.get("attempt")) != attempt:
        return None
    try:
        return JobProgress(
            at=_moment(int(fields["at_ms"])),
            done=float(fields["done"]),
            total=float(fields["total"]),
            note=str(fields["note"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def read_event(stored: bytes) -> HistoryEvent | None:
    """Read an entry of a history; None if it cannot be read."""
    fields = _mapping(stored)
    try:
        return HistoryEvent(
            at=_moment(int(fields["at_ms"])),
            attempt=int(fields.get("attempt", 0)),
            outcome=str(fields["outcome"]),
            reason=str(fields.get("reason", "")),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _mapping(stored: bytes) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(stored)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _moment(milliseconds: int) -> datetime:
    """Convert milliseconds to an instant; another application's score may lie beyond the calendar."""
    return datetime.fromtimestamp(min(max(0, milliseconds), _END_OF_CALENDAR_MS) / 1000, UTC)
