"""Payload of a job as operators see it: according to their role, and harmless whatever it holds.

`admin` sees every value; other roles see the fields that the settings name, and only the names of the rest. In
histories of mails, other roles see masked addresses. Control characters become visible signs, and long values are
cut.
"""

import re
from collections.abc import Iterator, Set as AbstractSet
from dataclasses import dataclass

import orjson

from jobs.mail.seal import is_sealed
from producers.envelope import UnreadableEnvelope, read_envelope

VALUE_LIMIT = 8000
"""Characters of one value; a payload has up to 256 KiB."""
_LOCAL_PART = re.compile(r"[^\s<>@\"',;:()\[\]]{1,64}@(?=[A-Za-z0-9\[])")
_KEPT = "\n\t"
_FIRST_SIGN, _FIRST_PICTURE, _DELETE, _DELETE_PICTURE = 0x20, 0x2400, 0x7F, "\u2421"


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field of a payload; `value` None: the operator may not see it."""

    name: str
    value: str | None
    cut: int = 0
    """Characters that are left out."""


def shown_payload(stored: bytes, *, sees_all: bool, shown: AbstractSet[str]) -> list[ShownField]:
    """Return the fields of a stored payload; one without a name if it cannot be read."""
    try:
        fields = read_envelope(stored).payload
    except UnreadableEnvelope:
        raw = stored.decode("utf-8", "backslashreplace")
        return [_field("", raw, visible=sees_all)] if stored else []
    if is_sealed(fields):
        fields = {**fields, "sealed": "1"}
    return [_field(name, _text(value), visible=sees_all or name in shown) for name, value in fields.items()]


def _field(name: str, text: str, *, visible: bool) -> ShownField:
    if not visible:
        return ShownField(name, None)
    return ShownField(name, text[:VALUE_LIMIT], max(0, len(text) - VALUE_LIMIT))


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def visible_text(text: str) -> str:
    r"""Return the text with a visible symbol for each control character except line breaks and tabs.

    >>> visible_text("a\x1b[2Jb")
    'a␛[2Jb'
    """
    return "".join(_signs(text))


def _signs(text: str) -> Iterator[str]:
    for letter in text:
        if letter in _KEPT or letter.isprintable():
            yield letter
        elif ord(letter) < _FIRST_SIGN:
            yield chr(_FIRST_PICTURE + ord(letter))
        else:
            yield _DELETE_PICTURE if ord(letter) == _DELETE else "\ufffd"


def masked_addresses(text: str) -> str:
    """Return the text with the part before the @ of each mail address left out.

    >>> masked_addresses("550 <ana@example.com>: no such user")
    '550 <…@example.com>: no such user'
    """
    return _LOCAL_PART.sub("…@", text)
