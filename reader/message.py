"""HTTP request and response as plain values, without a server or sockets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Headers = tuple[tuple[str, str], ...]

WITHOUT_LENGTH = {204, 304}
"""Statuses of responses without a body, which therefore have no Content-Length (RFC 9110, 8.6)."""


class Fields:
    """Header fields of a request; names in lower case."""

    __slots__ = ()

    def get_all(self, name: str) -> list[str]:
        """Return all values of one field, in the order in which they came."""
        raise NotImplementedError

    def has_any(self, names: Iterable[str]) -> bool:
        """Return True if one of these fields is present and not empty."""
        return any(map(self.get_joined, names))

    def get_joined(self, name: str) -> str:
        """Return a field as one comma-separated text (RFC 9110, 5.3); empty if it is absent."""
        values = self.get_all(name)
        if not values:
            return ""
        return values[0] if len(values) == 1 else ", ".join(values)


class HeaderList(Fields):
    """Header fields from a list of pairs.

    Example:
        >>> HeaderList((("accept", "a"), ("accept", "b"))).get_all("accept")
        ['a', 'b']
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = tuple(pairs)

    def get_all(self, name: str) -> list[str]:
        """Return all values of one field."""
        return [value for key, value in self._pairs if key == name]


@dataclass(slots=True)
class Request:
    """HTTP request. A server may pass the same object again for the same bytes.

    Attributes:
        query: the query of the target, not decoded.
        found: value that the handler derives from the request alone, cached for the next time. It does not refer
            to the request: both are freed at once, without a pause for the garbage collector.
        authority: the host of a target in absolute form; it replaces the Host field (RFC 9112, 3.2.2).
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    fields: Fields = field(default=HeaderList(()), repr=False)
    found: Any = None
    authority: str = ""

    @property
    def host(self) -> str:
        """Host name that the client used, with its port if one was given; empty without one."""
        return self.authority or self.header("host")

    def values(self, name: str) -> list[str]:
        """Return all values of a header field, in the order in which they came."""
        return self.fields.get_all(name)

    def header(self, name: str) -> str:
        """Return a header field as one comma-separated text (RFC 9110, 5.3); empty if it is absent."""
        return self.fields.get_joined(name)


@dataclass(slots=True)
class Response:
    """HTTP response.

    Attributes:
        outcome: name of its counter.
        headers: header fields except the length and the `timing`; often the same object as in an earlier response.
        age_s: age of the data, in seconds; None if the response has no data.
        timing: value of Server-Timing, which differs for each response.
    """

    status: int
    outcome: str
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    age_s: float | None = None
    timing: str = ""

    @property
    def fields(self) -> Headers:
        """All header fields; Content-Length only if there may be a body (RFC 9110, 8.6)."""
        timing = (("server-timing", self.timing),) if self.timing else ()
        length = () if self.status in WITHOUT_LENGTH else (("content-length", str(len(self.body))),)
        return (*self.headers, *timing, *length)
