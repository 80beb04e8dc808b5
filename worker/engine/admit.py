"""Admission of a claimed job: a pure decision, from its bytes, on whether this worker can run it.

| claimed job                                            | outcome                                     |
|--------------------------------------------------------|---------------------------------------------|
| bytes that are not a job (a pickle, a truncated payload) | dead, with the reason                     |
| an envelope of a newer version than this code          | park (version)                              |
| a job after its deadline                               | expired                                     |
| a kind without a handler here                          | park (kind)                                 |
| a payload of a newer version than its handler's        | park (version)                              |
| an older payload without a complete chain of upcasters | dead, with the reason                       |
| any other                                              | it runs, with the payload upcast            |

A parked job has not failed: it keeps its attempts, stays visible to operators, and is released by a worker that
has the kind and version it needs (``parking``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from arq.worker import Function

from producers.envelope import Envelope, NewerEnvelope, UnreadableEnvelope, read_envelope
from worker.engine.handler import Handler, known_version
from worker.engine.lane import Claim
from worker.engine.outcome import RELOOK, Outcome
from worker.engine.upcast import CannotUpcast, Payload, upcast_payload
from worker.events import EventName, event

_JOB_UNREADABLE = event("job.unreadable")
_JOB_EXPIRED = event("job.expired")
_JOB_NOT_UPCAST = event("job.not_upcast")
_JOB_UNKNOWN_KIND = event("job.unknown_kind")
_JOB_NEWER_VERSION = event("job.newer_version")

ENVELOPE = "envelope"
"""Stands for the kind in the needs of a job with a newer envelope."""


@dataclass(slots=True)
class AdmittedJob:
    """A job that this worker can run."""

    envelope: Envelope
    function: Function
    payload: Payload = field(repr=False)


@dataclass(slots=True)
class Rejection:
    """The outcome of a job that this worker does not run.

    Attributes:
        event, fields: the log event and its fields.
        envelope: None if it could not be read.
    """

    outcome: Outcome
    event: EventName
    envelope: Envelope | None = None
    fields: Mapping[str, object] = field(default_factory=dict, repr=False)


def admit_claim(claim: Claim, functions: Mapping[str, Function]) -> AdmittedJob | Rejection:
    """Decide about a claimed job by the table above."""
    try:
        envelope = read_envelope(claim.payload)
    except NewerEnvelope as error:
        return _park("version", ENVELOPE, error.version, str(error))
    except UnreadableEnvelope as error:
        return Rejection(Outcome("dead", reason=str(error)), _JOB_UNREADABLE, fields={"error": str(error)})
    if envelope.expires_ms is not None and claim.claimed_ms >= envelope.expires_ms:
        expired = Outcome("expired", reason=f"expires: passed before the job began ({_text(envelope.expires_ms)})")
        return Rejection(expired, _JOB_EXPIRED, envelope)
    return _with_handler(envelope, functions)


def _with_handler(envelope: Envelope, functions: Mapping[str, Function]) -> AdmittedJob | Rejection:
    function, kind, version = functions.get(envelope.kind), envelope.kind, envelope.payload_version
    if function is None:
        return _park("kind", kind, version, f"kind: no handler for {kind}; deploy a worker that has one", envelope)
    known = known_version(function)
    if version == known:
        return AdmittedJob(envelope, function, envelope.payload)
    if version > known:
        newer = f"version: {version} of {kind} is newer than this worker's {known}; deploy a newer worker"
        return _park("version", kind, version, newer, envelope)
    try:
        upcasters = function.upcasters if isinstance(function, Handler) else {}
        payload = upcast_payload(envelope.payload, version, to=known, upcasters=upcasters)
    except CannotUpcast as error:
        return Rejection(Outcome("dead", reason=str(error)), _JOB_NOT_UPCAST, envelope)
    return AdmittedJob(envelope, function, payload)


def _park(why: str, name: str, version: int, reason: str, envelope: Envelope | None = None) -> Rejection:
    needs = f"{name}@{version}"
    logged = _JOB_UNKNOWN_KIND if why == "kind" else _JOB_NEWER_VERSION
    return Rejection(
        Outcome("park", RELOOK, reason, why=why, needs=needs), logged, envelope, {"needs_version": version}
    )


def _text(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
