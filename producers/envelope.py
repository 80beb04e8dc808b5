"""The octets of a job: arq's own fields as JSON, with our version first.

A stock arq worker with a JSON deserializer reads it and ignores ``v``. No pickle is ever written or read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from .errors import InvalidRequest, PayloadTooLarge

VERSION = 1
SIZE_LIMIT = 256 * 1024
"""Octets of one envelope. Redis holds every waiting job in memory, and a claim carries many at once."""
MARK = b'{"v":'
"""How an envelope of ours begins; the scripts tell foreign jobs from ours by it."""


class UnreadableEnvelope(ValueError):
    """Octets that are no job of a version that we know."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A job as read from the wire."""

    kind: str
    arguments: list[object]
    payload: dict[str, object]
    enqueued_ms: int
    delay_ms: int
    """How long it was to wait first; its age counts from the end of that."""


def write_envelope(kind: str, payload: Mapping[str, object], *, enqueued_ms: int, delay_ms: int = 0) -> bytes:
    """The octets of a job.

    Raises:
        InvalidRequest: a value that JSON does not have.
        PayloadTooLarge: over 256 KiB.
    """
    content = {"v": VERSION, "f": kind, "t": None, "a": [], "k": dict(payload), "et": enqueued_ms}
    if delay_ms:
        content["d"] = delay_ms
    try:
        for name, value in payload.items():
            if not _is_json(value):
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
        UnreadableEnvelope: not JSON, not of arq's shape, or of a version that came after this one.
    """
    try:
        content = orjson.loads(octets)
        version = content.get("v", VERSION)
        if version != VERSION:
            raise UnreadableEnvelope(f"version {version!r} is not known here, only {VERSION}")
        return Envelope(
            content["f"], list(content["a"]), dict(content["k"]), int(content["et"]), int(content.get("d", 0))
        )
    except UnreadableEnvelope:
        raise
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UnreadableEnvelope("not a job in JSON; a pickle is never read") from None


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
