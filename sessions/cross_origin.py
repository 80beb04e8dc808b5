"""Recognition of requests that another web site made a browser send (CSRF). No I/O.

`SameSite=Lax` keeps the cookie out of most of them; this check also covers sites of the same domain, and log-ins,
which need no cookie. Browsers name the origin of every request that changes something: in `Sec-Fetch-Site` (Fetch
Metadata, W3C), older ones in `Origin` (RFC 6454, 7). Programs other than browsers send neither and pass, because
no site can make them send a cookie.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from .errors import SessionRefused

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
"""What a browser sends as `Origin`: scheme, host, port; mobile applications have their own schemes."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110, 9.2.1); an application must keep to it."""


def is_cross_origin(method: str, header: Callable[[str], str | None], trusted: Collection[str] = ()) -> bool:
    """Return True if a request that may change something was caused by a page of another origin.

    Args:
        method: of the request; of a websocket any word that is not a safe method.
        header: returns a header field of the request, or None.
        trusted: other origins whose pages may send requests, like ``https://app.example.com``.

    Example:
        >>> fields = {"host": "shop.example.com", "origin": "https://evil.example.net"}
        >>> is_cross_origin("POST", fields.get)
        True
    """
    if method in _SAFE or header("authorization") is not None:
        return False
    origin, site = header("origin"), header("sec-fetch-site")
    if origin is not None and origin in trusted:
        return False
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and urlsplit(origin).netloc.lower() != (header("host") or "").lower()


def checked_origins(trusted: Collection[str]) -> frozenset[str]:
    """Return the trusted origins, if each is written as a browser writes an origin.

    Raises:
        SessionRefused: one is in a form that no browser sends, so it would never match.

    Example:
        >>> checked_origins(["https://app.example.com"])
        frozenset({'https://app.example.com'})
    """
    if isinstance(trusted, str):
        raise SessionRefused(f"trusted_origins: must be a list of origins, [{trusted!r}], not a string")
    for one in trusted:
        if not isinstance(one, str) or not _ORIGIN.fullmatch(one):
            raise SessionRefused(
                f"trusted_origins: {one!r} is not an origin; write it as browsers send it, in lower case and "
                "without a path, like https://app.example.com"
            )
    return frozenset(trusted)
