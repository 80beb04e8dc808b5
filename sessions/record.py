"""Stored format of a session.

A record in Redis is a HASH of nine short fields (`FIELDS`, in the order in which the scripts return them).
Numbers are decimal, times are milliseconds since 1970 by Redis's own clock, `d` is a JSON object. No other
format is read: no pickle, no class names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from .errors import SessionRefused, SessionsUnavailable
from .session import Session
from .token import SessionPlace

FIELDS = ("v", "u", "e", "c", "a", "i", "t", "l", "d")

DATA_LIMIT = 64 * 1024
"""Bytes of JSON in one session. It is read at every request: keep ids in it, not documents."""

_JSON = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode_data(data: Mapping[str, Any]) -> bytes:
    """Encode the caller's data as JSON. Raises SessionRefused if JSON cannot hold it or it is too large."""
    try:
        encoded = orjson.dumps(dict(data), option=_JSON)
    except TypeError as error:
        raise SessionRefused(f"data: must be a JSON object with string keys and plain values ({error})") from error
    if len(encoded) > DATA_LIMIT:
        raise SessionRefused(f"data: {len(encoded)} bytes of JSON; at most {DATA_LIMIT} are allowed")
    return encoded


def decode_session(place: SessionPlace, record: Sequence[bytes | str]) -> Session:
    """Decode a session from a script's fields. Raises SessionsUnavailable if they are malformed."""
    try:
        fields = dict(zip(FIELDS, map(_text, record), strict=True))
        data = orjson.loads(fields["d"])
        return Session(
            place=place,
            version=int(fields["v"]),
            user=fields["u"],
            created_at=_moment(fields["c"]),
            expires_at=_moment(fields["a"]),
            touched_at=_moment(fields["t"]),
            idle=timedelta(milliseconds=int(fields["i"])),
            label=fields["l"],
            data=_object(data),
        )
    except (ValueError, OverflowError) as error:
        raise SessionsUnavailable(
            f"{place.session_key}: is not a session record ({error}); delete the key"
        ) from error


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _moment(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))


def _object(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("field d is not a JSON object")  # noqa: TRY004  one error for every fault of the format
    return data
