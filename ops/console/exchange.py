"""Requests and responses of the small pages on this machine: the console and the mail sink.

These pages accept only the names of this machine as Host, so that no page of the web can read them by pointing its
own name at this address (DNS rebinding). Responses are never stored, and a browser may load nothing unless the
response allows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hosts import AllowedHosts

_HOSTS = AllowedHosts()
_ALWAYS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "vary": "accept-language",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """An HTTP request. `host`, `accept` and `accept_language` are the headers' values, "" when absent."""

    method: str
    path: str
    host: str
    accept_language: str = ""
    accept: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResponse:
    """An HTTP response; `headers` replace the strict ones that every response has."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """All headers to send."""
        return list({**_ALWAYS, "content-type": self.kind, **self.headers}.items())


def refusal(request: PageRequest) -> PageResponse | None:
    """Return the refusal of a request with a foreign Host or a writing method, or None if it is allowed."""
    if not _HOSTS.allows(request.host):
        return PageResponse(status=421, body=b"This server answers to 127.0.0.1 and localhost only.\n")
    if request.method not in {"GET", "HEAD"}:
        return PageResponse(status=405, headers={"allow": "GET, HEAD"})
    return None
