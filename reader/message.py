"""One HTTP request and one answer, as plain values: no server, no sockets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked. Header names are lower case; a header may come more than once."""

    method: str
    path: str
    headers: Headers = ()

    def values(self, name: str) -> Iterable[str]:
        """All values of a header, in the order they came."""
        return (value for key, value in self.headers if key == name)

    def header(self, name: str) -> str:
        """A list header as one comma-separated text (RFC 9110, 5.3); empty when absent."""
        return ", ".join(self.values(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered. `outcome` is the counter it belongs to; `age_s` the age of the data that was served."""

    status: int
    outcome: str
    headers: Headers = ()
    body: bytes = b""
    age_s: float | None = None
