"""Encoding of a job: arq's own fields as JSON, with the version of this format first.

A stock arq worker with a JSON deserializer reads it and ignores ``v``. No pickle is ever written or read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from .errors import InvalidRequest, PayloadTooLarge

VERSION = 1
SIZE_LIMIT = 256 * 1024
"""Maximum bytes of one envelope. Redis holds every waiting job in memory, and a claim returns many at once."""
MARK = b'{"v":'
"""First bytes of an envelope; the scripts distinguish these jobs from arq's by them."""
ERASED = "erased"
"""Field of a payload whose content was erased long after the job died; such a job is never run again."""

_PLAIN = frozenset({str, int, bool, type(None)})
"""Types whose every value is JSON's; most values of a payload are of these."""
_END_OF_CALENDAR_MS = 253_402_300_800_000
"""The year 10000."""


class UnreadableEnvelope(ValueError):
    """The bytes are not a job."""


class NewerEnvelope(UnreadableEnvelope):
    """The job has a later version; the deployment that wrote it has workers that read it."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"v: version {version} of the envelope is newer than {VERSION}, the latest that this build reads"
        )
        self.version = version


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and a worker reads tens of thousands
class Envelope:
    """Job decoded from its stored bytes."""

    kind: str
    arguments: list[object] = field(repr=False)
    payload: dict[str, object] = field(repr=False)
    enqueued_ms: int
    delay_ms: int = 0
    """Delay before the job might first run."""
    since_ms: int = 0
    """Start of the job's age: when it could first run, by Redis's clock if Redis stored that."""
    expires_ms: int | None = None
    """Instant at which the job expires."""
    payload_version: int = 1
    """Version of the payload's shape; the handler's upcasters convert an older one."""
    ledger_day: int | None = None
    """Day of a ledger job's row, in days since 1970."""
    traceparent: object = field(default=None, repr=False)
    tracestate: object = field(default=None, repr=False)
    """The W3C trace context of the sender, unchecked."""


def write_envelope(
    kind: str,
    payload: Mapping[str, object],
    *,
    enqueued_ms: int,
    delay_ms: int = 0,
    expires_ms: int | None = None,
    payload_version: int = 1,
    trace: Mapping[str, str] | None = None,
) -> bytes:
    """Encode a job.

    Args:
        trace: fields ``tp`` and ``ts``.

    Raises:
        InvalidRequest: a value that JSON cannot represent.
        PayloadTooLarge: the envelope is over 256 KiB.
    """
    content: dict[str, object] = {
        "v": VERSION,
        "f": kind,
        "t": None,
        "a": [],
        "k": payload if type(payload) is dict else dict(payload),
    }
    if trace:
        content |= trace
    content["et"] = enqueued_ms  # near the end, where a script looks for it
    if delay_ms:
        content["d"] = delay_ms
    if expires_ms is not None:
        content["x"] = expires_ms
    if payload_version != 1:
        content["pv"] = payload_version
    try:
        for name, value in payload.items():
            if type(value) not in _PLAIN and not _is_json(value):
                raise InvalidRequest(
                    f"payload.{name}: JSON cannot represent the value in {kind}; use text or numbers"
                )
        encoded = orjson.dumps(content)
    except (TypeError, RecursionError) as error:  # a lone surrogate, an integer over 64 bits, a cycle
        raise InvalidRequest(f"payload of {kind}: {error}; use JSON-native values only") from None
    check_size(kind, encoded)
    return encoded


def check_size(kind: str, encoded: bytes) -> None:
    """Raise PayloadTooLarge if the envelope is over 256 KiB."""
    if len(encoded) > SIZE_LIMIT:
        raise PayloadTooLarge(
            f"payload of {kind}: {len(encoded)} bytes; at most {SIZE_LIMIT} are allowed; send a reference"
        )


def read_envelope(encoded: bytes) -> Envelope:
    """Decode a job, written by a producer or by arq as JSON.

    Raises:
        NewerEnvelope: the job has a later version.
        UnreadableEnvelope: the bytes are not JSON, or not of arq's shape.
    """
    try:
        content = orjson.loads(encoded)
        if content.get("v", VERSION) != VERSION:
            raise _unknown_version(content["v"])
        return _read(content)
    except UnreadableEnvelope:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise UnreadableEnvelope("job: not in JSON format; pickles are never read") from None


def _unknown_version(version: object) -> UnreadableEnvelope:
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        return NewerEnvelope(version)
    return UnreadableEnvelope(f"v: not a version of the envelope; versions are whole numbers from {VERSION}")


def _read(content: Mapping[str, Any]) -> Envelope:
    kind, version, expires = content["f"], content.get("pv", 1), content.get("x")
    if not isinstance(kind, str):
        raise UnreadableEnvelope("f: the kind is not text")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UnreadableEnvelope("pv: the payload's version is not a whole number of at least 1")
    enqueued, delay = _within_calendar("et", content["et"]), _within_calendar("d", content.get("d", 0))
    envelope = Envelope(
        kind,
        list(content["a"]),
        dict(content["k"]),
        enqueued,
        delay,
        _within_calendar("q", content["q"]) if "q" in content else enqueued + delay,
        None if expires is None else _within_calendar("x", expires),
        version,
        None if (day := content.get("l")) is None else int(day),
    )
    if "tp" in content:
        envelope.traceparent, envelope.tracestate = content["tp"], content.get("ts")
    return envelope


def _within_calendar(field: str, milliseconds: Any) -> int:  # noqa: ANN401  any value of JSON
    number = int(milliseconds)
    if not 0 <= number < _END_OF_CALENDAR_MS:
        raise UnreadableEnvelope(f"{field}: {number} is not a time in milliseconds before the year 10000")
    return number


def _is_json(value: object) -> bool:
    """Return True if JSON preserves the value; a NaN would be read back as null, a date as a text."""
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return math.isfinite(value)
        case dict():
            return all(isinstance(name, str) and _is_json(one) for name, one in value.items())
        case list() | tuple():
            return all(map(_is_json, value))
    return False
