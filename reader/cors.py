"""Allow-list of other origins whose pages may read reports (Fetch standard, CORS protocol).

Without a list no header is added, and browsers keep other origins out. An entry is scheme, host and port; there is
no wildcard, because responses depend on a cookie.
"""

from __future__ import annotations

from collections.abc import Iterable

from reader.message import Headers, Request

_EXPOSED = (
    "Age, As-Of, Cache-Status, Content-Encoding, ETag, Freshness, Memento-Datetime, Report-Gen, Retry-After, "
    "Server-Timing, WWW-Authenticate"
)
_SENT = (
    "Accept-Datetime, Authorization, Cache-Control, If-Match, If-Modified-Since, If-None-Match, "
    "If-Unmodified-Since, If-Write-Visible"
)
_PREFLIGHT_S = 600


class Origins:
    """Allowed origins.

    Example:
        >>> origins = Origins(["https://app.example"])
        >>> origins.headers("https://app.example")[0]
        ('access-control-allow-origin', 'https://app.example')
        >>> origins.headers("https://elsewhere.example")
        ()
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def grant(self, headers: Headers, origin: str) -> Headers:
        """Return the headers of a response to this origin: one field of each name, and `Vary` with `Origin`."""
        varied = ", ".join([value for name, value in headers if name == "vary"] + ["Origin"])
        rest = tuple(field for field in headers if field[0] != "vary")
        return (*rest, ("vary", varied), *self.headers(origin))

    def headers(self, origin: str) -> Headers:
        """Return the headers of a response to this origin besides `Vary: Origin`; none if it is not listed."""
        if origin not in self._allowed:
            return ()
        return (
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", _EXPOSED),
        )

    def preflight(self, request: Request, allow: str) -> Headers:
        """Return the headers of the response to OPTIONS besides `Allow` and `headers`."""
        if request.header("origin") not in self._allowed:
            return ()
        return (
            ("access-control-allow-methods", allow),
            ("access-control-allow-headers", _SENT),
            ("access-control-max-age", str(_PREFLIGHT_S)),
        )
