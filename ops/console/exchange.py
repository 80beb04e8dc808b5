"""One HTTP request and its answer, for the small pages on this machine: the console and the mail sink.

They answer only to the names of this machine, so that no page of the web can read them by giving its own name
this address (DNS rebinding), are never stored, and allow a browser nothing unless the answer says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hosts import AllowedHosts

_OURS = AllowedHosts()
_ALWAYS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "vary": "accept-language",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What is asked. `host` and `accept_language` are the headers' values, "" when absent."""

    method: str
    path: str
    host: str
    accept_language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResponse:
    """What is answered; `headers` go before the strict ones that every answer has."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """Every header to send."""
        return list({**_ALWAYS, "content-type": self.kind, **self.headers}.items())


def refusal(request: PageRequest) -> PageResponse | None:
    """The answer to a request under another name, or that would change something; None for the others."""
    if not _OURS.allows(request.host):
        return PageResponse(status=421, body=b"This server answers to 127.0.0.1 and localhost only.\n")
    if request.method not in {"GET", "HEAD"}:
        return PageResponse(status=405, headers={"allow": "GET, HEAD"})
    return None
