"""The octets of a job: arq's own fields as JSON, with our version first.

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
"""Octets of one envelope. Redis holds every waiting job in memory, and a claim carries many at once."""
MARK = b'{"v":'
"""How an envelope of ours begins; the scripts tell foreign jobs from ours by it."""
ERASED = "erased"
"""The field of a payload whose content was erased when the job had been dead for long; it is never run again."""

_PLAIN = frozenset({str, int, bool, type(None)})
"""Types whose every value is JSON's; most values of a payload are of these."""
_END_OF_CALENDAR_MS = 253_402_300_800_000
"""The year 10000."""


class UnreadableEnvelope(ValueError):
    """Octets that are no job."""


class NewerEnvelope(UnreadableEnvelope):
    """A job of a version that came after this one; whoever wrote it has a worker that reads it."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the envelope's version {version} is newer than {VERSION}, the one known here")
        self.version = version


@dataclass(slots=True)  # not frozen: that triples the cost of making one, and a worker reads tens of thousands
class Envelope:
    """A job as read from the wire."""

    kind: str
    arguments: list[object] = field(repr=False)
    payload: dict[str, object] = field(repr=False)
    enqueued_ms: int
    delay_ms: int = 0
    """How long it was to wait first."""
    since_ms: int = 0
    """The instant from which its age counts: when it could first run, by Redis's clock if Redis said so."""
    expires_ms: int | None = None
    """The instant from which it is not worth running."""
    payload_version: int = 1
    """Of the shape of the payload; the handler's upcasters bring an older one up to date."""


def write_envelope(
    kind: str,
    payload: Mapping[str, object],
    *,
    enqueued_ms: int,
    delay_ms: int = 0,
    expires_ms: int | None = None,
    payload_version: int = 1,
) -> bytes:
    """The octets of a job.

    Raises:
        InvalidRequest: a value that JSON does not have.
        PayloadTooLarge: over 256 KiB.
    """
    content: dict[str, object] = {
        "v": VERSION,
        "f": kind,
        "t": None,
        "a": [],
        "k": dict(payload),
        "et": enqueued_ms,
    }
    if delay_ms:
        content["d"] = delay_ms
    if expires_ms is not None:
        content["x"] = expires_ms
    if payload_version != 1:
        content["pv"] = payload_version
    try:
        for name, value in payload.items():
            if type(value) not in _PLAIN and not _is_json(value):
                raise InvalidRequest(f"payload.{name}: {kind} holds what JSON does not have; give text or numbers")
        octets = orjson.dumps(content)
    except (TypeError, RecursionError) as error:  # a lone surrogate, an integer over 64 bits, a cycle
        raise InvalidRequest(f"payload of {kind}: {error}; only JSON-native values travel") from None
    if len(octets) > SIZE_LIMIT:
        raise PayloadTooLarge(
            f"payload of {kind} has {len(octets)} octets, at most {SIZE_LIMIT} are allowed; send a reference"
        )
    return octets


def read_envelope(octets: bytes) -> Envelope:
    """The job in these octets, ours or one that arq wrote as JSON.

    Raises:
        NewerEnvelope: of a version that came after this one.
        UnreadableEnvelope: not JSON, or not of arq's shape.
    """
    try:
        content = orjson.loads(octets)
        if content.get("v", VERSION) != VERSION:
            raise _unknown_version(content["v"])
        return _read(content)
    except UnreadableEnvelope:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise UnreadableEnvelope("not a job in JSON; a pickle is never read") from None


def _unknown_version(version: object) -> UnreadableEnvelope:
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        return NewerEnvelope(version)
    return UnreadableEnvelope(f"v: no version of the envelope, {VERSION} is the first")


def _read(content: Mapping[str, Any]) -> Envelope:
    kind, version, expires = content["f"], content.get("pv", 1), content.get("x")
    if not isinstance(kind, str):
        raise UnreadableEnvelope("f: the kind is no text")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UnreadableEnvelope("pv: the payload's version is no whole number from 1")
    enqueued, delay = _within_calendar("et", content["et"]), _within_calendar("d", content.get("d", 0))
    return Envelope(
        kind,
        list(content["a"]),
        dict(content["k"]),
        enqueued,
        delay,
        _within_calendar("q", content["q"]) if "q" in content else enqueued + delay,
        None if expires is None else _within_calendar("x", expires),
        version,
    )


def _within_calendar(field: str, milliseconds: Any) -> int:  # noqa: ANN401  whatever JSON has
    number = int(milliseconds)
    if not 0 <= number < _END_OF_CALENDAR_MS:
        raise UnreadableEnvelope(f"{field}: {number} is no number of milliseconds within the calendar")
    return number


def _is_json(value: object) -> bool:
    """Whether it would come back as it went; a NaN would come back as null, a date as a text."""
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
