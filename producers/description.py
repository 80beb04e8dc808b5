"""Description of one job of a backend's own kind: its state, its attempts and its end. No I/O.

    waiting     in its lane: due, scheduled, between two attempts, or parked
    running     a worker holds its lease
    done        its handler returned; as long as the result is kept
    suppressed  ended without being done, by an earlier request; likewise
    expired     not begun in time; likewise
    dead        given up, and kept until an operator decides
    unknown     it never existed, was cancelled, or ended longer ago than results are kept

Only for the lane group of own jobs: a backend may not read what others have put into a mail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from .entry import read_result
from .envelope import Envelope, UnreadableEnvelope, read_envelope
from .errors import InvalidRequest
from .operation import Operation

JobState = Literal["waiting", "running", "done", "suppressed", "expired", "dead", "unknown"]
"""State of a described job; see the table above."""
_OWN = "{jobs}"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One entry of a job's history; a successful attempt makes none.

    Attributes:
        attempt: number of the attempt from 1; 0 for an operator's action.
        outcome: ``retry``, ``deferred``, ``parked``, ``dead``, ``uncertain``, ``revived`` and others.
        reason: the error, which may quote private data.
    """

    at: datetime
    attempt: int
    outcome: str
    reason: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDescription:
    """A job at an instant; unknown values have their defaults.

    Attributes:
        payload: the job's fields as JSON; empty once it is done.
        attempt: number of attempts that have begun.
        worker: id of the worker that runs it now.
        queued_at: when it was sent.
        began_at, ended_at: of the last attempt, once it has ended for good; as long as the result is kept.
        value: what the handler returned; None unless it is done.
        reason: the last error of a dead job.
        events: the history, oldest first.
    """

    state: JobState = "unknown"
    kind: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)
    attempt: int = 0
    worker: str = ""
    queued_at: datetime | None = None
    began_at: datetime | None = None
    ended_at: datetime | None = None
    value: object = field(default=None, repr=False)
    reason: str = field(default="", repr=False)
    events: Sequence[JobEvent] = ()


def describe(job_id: str) -> Operation[JobDescription]:
    """Read all that Redis has of a job.

    Raises:
        InvalidRequest: the job is not of your own kind.
    """
    if not job_id.startswith(_OWN):
        raise InvalidRequest(f"job_id: {job_id!r} is not the id of a job of your own kinds, like {_OWN}01kt0…")
    names = [f"arq:{name}:{job_id}" for name in ("job", "result", "in-progress", "retry")]
    return Operation("describe", [*names, f"momentus:{_OWN}:history:{job_id}"], [], read_description)


def read_description(reply: Any) -> JobDescription:  # noqa: ANN401  a reply is what the script returns
    """Return the description in the reply of ``describe.lua``."""
    payload, stored, token, failed, history = reply
    events = [event for line in history if (event := _event(line)) is not None]
    if stored:
        return _ended(stored, payload, events)
    if not payload:
        return JobDescription()
    envelope = _envelope(payload)
    facts: dict[str, Any] = {"events": events, **_of_envelope(envelope)}
    last = events[-1] if events else None
    if token:
        worker, attempt = read_token(token.decode())
        return JobDescription(state="running", worker=worker, attempt=attempt, **facts)
    if last is not None and last.outcome == "dead":
        return JobDescription(state="dead", attempt=last.attempt, ended_at=last.at, reason=last.reason, **facts)
    return JobDescription(state="waiting", attempt=int(failed or 0), **facts)


def read_token(token: str) -> tuple[str, int]:
    """Return the worker and the attempt in the token of a lease.

    >>> read_token("9f86d081884c7d65-17:2")
    ('9f86d081884c7d65', 2)
    """
    claim, _, attempt = token.rpartition(":")
    return claim.rpartition("-")[0], int(attempt) if attempt.isdecimal() else 0


def _ended(stored: bytes, payload: bytes | None, events: Sequence[JobEvent]) -> JobDescription:
    """Return the description of a job with a result; a dead job has its payload too."""
    found = read_result([stored, payload])
    if found.state == "unknown" or found.state == "pending":  # noqa: PLR1714  type checkers narrow by it
        return JobDescription()
    end = orjson.loads(stored)
    facts = _of_envelope(_envelope(payload)) if payload else {"kind": end["f"], "queued_at": _instant(end["et"])}
    return JobDescription(
        state=found.state,
        attempt=end["t"],
        began_at=_instant(end["st"]),
        ended_at=_instant(end["ft"]),
        value=found.value,
        reason=found.reason,
        events=events,
        **facts,
    )


def _envelope(payload: bytes) -> Envelope | None:
    try:
        return read_envelope(payload)
    except UnreadableEnvelope:  # the worker makes such a job dead
        return None


def _of_envelope(envelope: Envelope | None) -> dict[str, Any]:
    if envelope is None:
        return {}
    return {
        "kind": envelope.kind,
        "payload": envelope.payload,
        "queued_at": _instant(envelope.enqueued_ms),
    }


def _event(line: bytes) -> JobEvent | None:
    try:
        found = orjson.loads(line)
        return JobEvent(_instant(found["at_ms"]), int(found["attempt"]), found["outcome"], found["reason"])
    except (ValueError, TypeError, KeyError):  # written by another program
        return None


def _instant(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
