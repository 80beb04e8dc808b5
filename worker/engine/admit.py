"""Whether a claimed job can be run by this worker: a pure decision over its octets, before any handler.

| what was claimed                                       | outcome                                     |
|--------------------------------------------------------|---------------------------------------------|
| octets that are no job (a pickle, a truncated payload)  | dead, with the reason                       |
| an envelope of a version that came after this code     | park (version)                              |
| a job whose deadline has passed                        | expired                                     |
| a kind without a handler here                          | park (kind)                                 |
| a payload of a newer version than its handler's        | park (version)                              |
| an older payload that no chain of upcasters brings up  | dead, with the reason                       |
| anything else                                          | it runs, with the payload brought up to date |

Parked is not failed: the job keeps its attempts, waits where people see it, and is let go by a worker that knows
what it needs (``parking``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from arq.worker import Function

from producers.envelope import Envelope, NewerEnvelope, UnreadableEnvelope, read_envelope
from worker.engine.handler import Handler, known_version
from worker.engine.lane import Claim
from worker.engine.outcome import RELOOK, Outcome
from worker.engine.upcast import CannotUpcast, Payload, upcast
from worker.events import EventName, event

_JOB_UNREADABLE = event("job.unreadable")
_JOB_EXPIRED = event("job.expired")
_JOB_NOT_UPCAST = event("job.not_upcast")
_JOB_UNKNOWN_KIND = event("job.unknown_kind")
_JOB_NEWER_VERSION = event("job.newer_version")

ENVELOPE = "envelope"
"""What stands for a kind in the needs of a job whose envelope itself is of a newer version."""


@dataclass(slots=True)
class AdmittedJob:
    """A job that can be run here."""

    envelope: Envelope
    function: Function
    payload: Payload = field(repr=False)


@dataclass(slots=True)
class Rejection:
    """A job that is not run here and now, and what becomes of it.

    Attributes:
        event, told: what to say about it.
        envelope: None when it could not be read.
    """

    outcome: Outcome
    event: EventName
    envelope: Envelope | None = None
    told: Mapping[str, object] = field(default_factory=dict, repr=False)


def admit(claim: Claim, functions: Mapping[str, Function]) -> AdmittedJob | Rejection:
    """What the table above says of a claimed job."""
    try:
        envelope = read_envelope(claim.payload)
    except NewerEnvelope as error:
        return _parked("version", ENVELOPE, error.version, str(error))
    except UnreadableEnvelope as error:
        return Rejection(Outcome("dead", reason=str(error)), _JOB_UNREADABLE, told={"error": str(error)})
    if envelope.expires_ms is not None and claim.claimed_ms >= envelope.expires_ms:
        expired = Outcome("expired", reason=f"not begun by its deadline, {_text(envelope.expires_ms)}")
        return Rejection(expired, _JOB_EXPIRED, envelope)
    return _with_handler(envelope, functions)


def _with_handler(envelope: Envelope, functions: Mapping[str, Function]) -> AdmittedJob | Rejection:
    function, kind, version = functions.get(envelope.kind), envelope.kind, envelope.payload_version
    if function is None:
        return _parked("kind", kind, version, f"no handler for {kind}", envelope)
    known = known_version(function)
    if version == known:
        return AdmittedJob(envelope, function, envelope.payload)
    if version > known:
        return _parked(
            "version", kind, version, f"version {version} of {kind}; the worker knows {known}", envelope
        )
    try:
        upcasters = function.upcasters if isinstance(function, Handler) else {}
        payload = upcast(envelope.payload, version, to=known, upcasters=upcasters)
    except CannotUpcast as error:
        return Rejection(Outcome("dead", reason=str(error)), _JOB_NOT_UPCAST, envelope)
    return AdmittedJob(envelope, function, payload)


def _parked(why: str, name: str, version: int, reason: str, envelope: Envelope | None = None) -> Rejection:
    needs = f"{name}@{version}"
    told = _JOB_UNKNOWN_KIND if why == "kind" else _JOB_NEWER_VERSION
    return Rejection(Outcome("park", RELOOK, reason, why=why, needs=needs), told, envelope, {"needs": needs})


def _text(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
