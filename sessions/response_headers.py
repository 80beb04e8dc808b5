"""Cache header fields of responses that depend on a session. No I/O.

Every response that read a session gets `Vary: Cookie`, so that no cache gives one user's page to another. Shared
caches must not store a response that belongs to one user: without a `Cache-Control` of the application it gets
`no-store`; an application's `Cache-Control` is kept if it is as strict, else made `private`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Header = tuple[bytes, bytes]

_DIRECTIVE = re.compile(rb'(?:[^,"]|"[^"]*")+')
_SHARED = frozenset({b"public", b"s-maxage", b"private"})
"""Directives that permit a shared cache; `private` here is the form with fields, ``private="set-cookie"``."""


def vary_by_cookie(headers: Iterable[Header]) -> list[Header]:
    """Add `Cookie` to `Vary`.

    Example:
        >>> vary_by_cookie([(b"vary", b"Accept-Encoding")])
        [(b'vary', b'Accept-Encoding, Cookie')]
    """
    kept = list(headers)
    places = [at for at, (name, _) in enumerate(kept) if name.lower() == b"vary"]
    named = {one.strip().lower() for at in places for one in kept[at][1].split(b",")}
    if named & {b"*", b"cookie"}:
        return kept
    if not places or not kept[places[-1]][1].strip():
        return [*kept, (b"vary", b"Cookie")]
    name, value = kept[places[-1]]
    kept[places[-1]] = (name, value + b", Cookie")
    return kept


def keep_from_shared_caches(headers: Iterable[Header]) -> list[Header]:
    """Make a response private, unless `Cache-Control` is stricter.

    Example:
        >>> keep_from_shared_caches([(b"cache-control", b"public, max-age=60")])
        [(b'cache-control', b'max-age=60, private')]
    """
    kept = list(headers)
    given = [value for name, value in kept if name.lower() == b"cache-control"]
    directives = [one.strip() for value in given for one in _DIRECTIVE.findall(value) if one.strip()]
    if not directives:
        return [*kept, (b"cache-control", b"no-store")]
    names = {one.lower() for one in directives}
    if b"no-store" in names:
        return kept
    unshared = [one for one in directives if one.partition(b"=")[0].strip().lower() not in _SHARED]
    if b"private" in names and len(unshared) == len(directives) - 1:
        return kept
    others = [header for header in kept if header[0].lower() != b"cache-control"]
    return [*others, (b"cache-control", b", ".join([*unshared, b"private"]))]


def with_session_headers(
    headers: Iterable[Header], *, consulted: bool, personal: bool, cookie: str | None
) -> list[Header]:
    """Return the header fields of a response with those that its session needs.

    Args:
        consulted, personal, cookie: as the attributes of a `Visit`.
    """
    kept = list(headers)
    if consulted or cookie is not None:
        kept = vary_by_cookie(kept)
    if personal:
        kept = keep_from_shared_caches(kept)
    return kept if cookie is None else [*kept, (b"set-cookie", cookie.encode("ascii"))]
