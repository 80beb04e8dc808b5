"""Parts of a request: its header fields, its target, and the cache of requests that were parsed before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from reader.memo import memo
from reader.message import Fields, Request

_ENTRY_BYTES: Final = 4 * 1024
_CACHE_BYTES: Final = 16 * 1024 * 1024
_OVERHEAD_BYTES: Final = 3 * 1024
"""Cost of a cached request besides its texts, each of which it holds three times."""
_SEEN: Final = 8192
"""Requests known to have come before, some more than the cache can hold."""
_AUTHORITY_ENDS = re.compile(r"[/?#]")


USED_FIELDS: Final = frozenset(
    {
        "accept",
        "accept-datetime",
        "accept-encoding",
        "authorization",
        "cache-control",
        "cookie",
        "expect",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "if-write-visible",
        "origin",
    }
)
"""The fields that the reader reads; others are searched for in the bytes when requested."""


class HTTPFields(Fields):
    """The header fields of a request; names in lower case.

    Args:
        values: the value of each field, or several in their order.
        head: bytes of a whole request, if `values` has only those of `USED_FIELDS`.
    """

    __slots__ = ("_head", "_values")

    def __init__(self, values: dict[str, bytes | list[bytes]] | None = None, head: bytes = b"") -> None:
        self._values = {} if values is None else values
        self._head = head

    def add_line(self, name: bytes, value: bytes) -> None:
        """Add one header line. Its value is decoded only when it is read, which is rare."""
        key = _lower(name)
        before = self._values.get(key)
        if before is None:
            self._values[key] = value
        else:
            self._values[key] = [*(before if isinstance(before, list) else [before]), value]

    def has_any(self, names: Iterable[str]) -> bool:
        """Return True if one of these fields is present and not empty."""
        return not self._values.keys().isdisjoint(names) and super().has_any(names)

    def get_joined(self, name: str) -> str:
        """Return a field as one comma-separated text; empty if it is absent."""
        found = self._values.get(name)
        if found is None and name in USED_FIELDS:
            return ""
        return found.decode("latin-1") if isinstance(found, bytes) else super().get_joined(name)

    def get_all(self, name: str) -> list[str]:
        """Return all values of one field, in the order in which they came."""
        found = self._values.get(name)
        if found is None:
            return [] if name in USED_FIELDS else self._look_for(name)
        return [found.decode("latin-1")] if isinstance(found, bytes) else [one.decode("latin-1") for one in found]

    def _look_for(self, name: str) -> list[str]:
        """Return the values of a field in the bytes of the request."""
        pairs = [line.partition(b":") for line in self._head.split(b"\r\n")[1:]]
        return [value.lstrip(b" \t").decode("latin-1") for key, _, value in pairs if _lower(key) == name]


class ParsedRequests:
    """Cache of parsed requests by their bytes: many clients send the same request again and again.

    The bytes of one complete request that begins and ends with its data mean the same every time, so they need
    no second parsing. A request is kept when it comes for the second time: those that come once cost no memory.
    """

    def __init__(self) -> None:
        self._requests: dict[bytes, Request] = {}
        self._seen: set[int] = set()
        self.get = self._requests.get
        self.held = 0

    def keep_request(self, data: bytes, request: Request) -> None:
        """Add a request if it is small and came before; clear the cache first when the limit would be passed."""
        if len(data) > _ENTRY_BYTES or data in self._requests:
            return
        if (mark := hash(data)) not in self._seen:
            self._note_seen(mark)
            return
        weight = 3 * len(data) + _OVERHEAD_BYTES
        if self.held + weight > _CACHE_BYTES:
            self._requests.clear()
            self.held = 0
        self.held += weight
        self._requests[data] = request

    def _note_seen(self, mark: int) -> None:
        """Note a request by its hash; forget all hashes when there are too many."""
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add(mark)


@memo(1 << 20)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


@memo(8 << 20)
def split_target(target: bytes) -> tuple[str, str]:
    """Return path and query of a request's target, in any of its forms (RFC 9112, 3.2).

    The path is not decoded: each page has one path, which needs no percent-encoding, and a second way to write it
    would get past the rules of a proxy.
    """
    text = target.decode("latin-1")
    if not text.startswith("/") and "://" in text:
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return path, query


def authority_of(target: bytes) -> str:
    """Return the host of a target in absolute form, or an empty text for any other form.

    >>> authority_of(b"http://user@reports.example:80/v1?at=http://other"), authority_of(b"/v1?at=http://other")
    ('reports.example:80', '')
    """
    scheme, found, rest = target.decode("latin-1").partition("://")
    return _AUTHORITY_ENDS.split(rest, maxsplit=1)[0].rpartition("@")[2] if found and "/" not in scheme else ""
