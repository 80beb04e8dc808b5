"""Requests of the form that browsers send, read without the parser in a third of its time.

It is a small and complete GET without a body, on a connection that stays open. The form is a part of what the
parser accepts, and what is read is what the parser would read. Everything else is left to the parser: other
characters in a target, a field that is empty or folded, one that changes what follows the head, and a second
occurrence of one that the reader uses.
"""

from __future__ import annotations

import re
from typing import Final

from reader.http.request import USED_FIELDS, HTTPFields, split_target
from reader.memo import memo
from reader.message import Request

_LARGEST: Final = 4 * 1024
"""Bytes of the largest request of this form; below all limits of the parser."""
_REQUEST_LINE = re.compile(rb"GET (/[A-Za-z0-9/_.~?&=,:%+-]*) HTTP/1\.1")
_NAME = re.compile(rb"[A-Za-z0-9_-]+")
_NO_CONTROLS: Final = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), ord("\t")})
_OTHER_FORMS: Final = {"content-length", "transfer-encoding", "expect", "upgrade", "proxy-connection"}
"""Fields that change what follows a head."""
_CONNECTION: Final = "connection"
_UNUSED: Final = ""


def read_common_form(data: bytes) -> Request | None:
    r"""Return the request that these bytes form, or None if only the parser can tell.

    >>> read_common_form(b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n").path
    '/a'
    >>> read_common_form(b"GET /a HTTP/1.1\r\nHost: c\r\nContent-Length: 1\r\n\r\n") is None
    True
    """
    if len(data) > _LARGEST:
        return None
    first, *lines = data.split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None or lines[-2:] != [b"", b""] or len(data.translate(None, _NO_CONTROLS)) != 2 * len(lines):
        return None
    values: dict[str, bytes | list[bytes]] = {}
    for line in lines[:-2]:
        name, colon, value = line.partition(b":")
        used = _used_name(name)
        if used is None or not colon or used in values:
            return None
        if used:
            values[used] = value.lstrip(b" \t")
    connection = values.pop(_CONNECTION, b"keep-alive")
    if "host" not in values or b"" in values.values() or connection not in {b"keep-alive", b"Keep-Alive"}:
        return None
    return Request("GET", *split_target(found[1]), HTTPFields(values, data))


@memo(1 << 20)
def _used_name(name: bytes) -> str | None:
    """Return a field's name in lower case, empty if the reader does not use it, or None if it is malformed."""
    lower = name.decode("latin-1").lower()
    if not _NAME.fullmatch(name) or lower in _OTHER_FORMS:
        return None
    return lower if lower in USED_FIELDS or lower == _CONNECTION else _UNUSED
