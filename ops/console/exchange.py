"""Requests and responses of the small pages on this machine: the console and the mail sink.

These pages accept only the names of this machine as Host, so that no web page can read them by pointing its own
name at this address (DNS rebinding). Responses are never stored, and a browser may load nothing unless the
response allows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hosts import AllowedHosts

BODY_LIMIT = 512 * 1024
"""Bytes of a request's body; a form may carry the longest value of a payload."""
_HOSTS = AllowedHosts()
_READING = ("GET", "HEAD")
_ALWAYS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "vary": "accept-language",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """An HTTP request. `host` and `accept_language` are the headers' values, "" when absent.

    Attributes:
        query: the part of the target after the question mark, still encoded.
        headers: all headers, names in lower case; the first of several with the same name.
        body: at most `BODY_LIMIT` bytes.
        peer: the address of the other end of the connection, "" if unknown.
    """

    method: str
    path: str
    host: str
    accept_language: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    peer: str = ""

    def cookie(self, name: str) -> str:
        """Return the value of a cookie, or "" without it."""
        pairs = (one.partition("=") for one in self.headers.get("cookie", "").split(";"))
        return next((value.strip() for known, _, value in pairs if known.strip() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResponse:
    """An HTTP response; `headers` replace the strict ones that every response has, `cookies` are set by it."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """All headers to send."""
        fields = {**_ALWAYS, "content-type": self.kind, **self.headers}
        return [*fields.items(), *(("set-cookie", one) for one in self.cookies)]


def refusal(
    request: PageRequest, *, hosts: AllowedHosts = _HOSTS, methods: Sequence[str] = _READING
) -> PageResponse | None:
    """Return the refusal of a request with a foreign Host or another method, or None if it is allowed."""
    if not hosts.allows(request.host):
        return PageResponse(status=421, body=b"This server answers to 127.0.0.1 and localhost only.\n")
    if request.method not in methods:
        return PageResponse(status=405, headers={"allow": ", ".join(methods)})
    return None
