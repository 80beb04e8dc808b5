"""One HTTP request and one answer, as plain values: no server, no sockets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

Headers = tuple[tuple[str, str], ...]

WITHOUT_LENGTH = {204, 304}
"""Answers of these have no body by definition, and so no length to state (RFC 9110, 8.6)."""


class Fields(Protocol):
    """The header fields of a request, as RSGI gives them: names in lower case."""

    def get_all(self, name: str) -> list[str]:
        """All values of one field, in the order they came."""


class HeaderList:
    """Header fields out of a list of pairs.

    Example:
        >>> HeaderList((("accept", "a"), ("accept", "b"))).get_all("accept")
        ['a', 'b']
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = tuple(pairs)

    def get_all(self, name: str) -> list[str]:
        """All values of one field."""
        return [value for key, value in self._pairs if key == name]


@dataclass(slots=True)
class Request:
    """What was asked. A server may hand the same object over again for the same octets.

    Attributes:
        query: what stands behind the question mark, undecoded.
        found: what whoever answers has found out from the request alone, kept for the next time.
        authority: the host in a target that is a whole address; it counts, and `Host` does not (RFC 9112, 3.2.2).
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    fields: Fields = field(default=HeaderList(()), repr=False)
    found: Any = None
    authority: str = ""

    @property
    def host(self) -> str:
        """The name under which it was asked, with its port if one was given; empty without one."""
        return self.authority or self.header("host")

    def values(self, name: str) -> list[str]:
        """All values of a header, in the order they came."""
        return self.fields.get_all(name)

    def header(self, name: str) -> str:
        """A list header as one comma-separated text (RFC 9110, 5.3); empty when absent."""
        values = self.fields.get_all(name)
        if not values:
            return ""
        return values[0] if len(values) == 1 else ", ".join(values)


@dataclass(slots=True)
class Response:
    """What is answered.

    Attributes:
        outcome: the counter it belongs to.
        headers: all but the length and the `timing`; often the very object of an earlier answer.
        age_s: the age of the data that was served.
        timing: the value of Server-Timing, another one for each answer.
    """

    status: int
    outcome: str
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    age_s: float | None = None
    timing: str = ""

    @property
    def fields(self) -> Headers:
        """All header fields; a length only where there may be a body (RFC 9110, 8.6)."""
        timing = (("server-timing", self.timing),) if self.timing else ()
        length = () if self.status in WITHOUT_LENGTH else (("content-length", str(len(self.body))),)
        return (*self.headers, *timing, *length)
