"""The Cache-Control header of a request: the oldest response that the client accepts (RFC 9111, 5.2.1).

    max-age=10      not older than 10 s
    min-fresh=5     fresh for at least 5 s more
    max-stale       any age, even past the hard limit; the response is labelled
    max-stale=600   at most 10 min past fresh
    only-if-cached  changes only the refusal: 504 instead of 503

A browser's reload sends `max-age=0` and `no-cache`. They tell caches between browser and origin to ask the origin;
the reader is the origin, so here they have no effect.

A directive that cannot be read is ignored; if one is given twice, the first counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reader.memo import memo

FOREVER_S = 2**31
"""The largest number of seconds; larger numbers are read as this one (RFC 9111, 1.2.2)."""

_SECONDS = re.compile(r'"?([0-9]+)"?', re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBounds:
    """Conditions of the client, in seconds; None for a condition that it does not state.

    >>> bounds_of("max-age=10, only-if-cached")
    CacheBounds(max_age_s=10, min_fresh_s=None, max_stale_s=None, only_if_cached=True)
    """

    max_age_s: int | None = None
    min_fresh_s: int | None = None
    max_stale_s: int | None = None
    only_if_cached: bool = False


NO_BOUNDS = CacheBounds()
"""No conditions, as most clients send; `bounds_of` returns this object itself."""


@memo(1 << 20)
def bounds_of(cache_control: str) -> CacheBounds:
    """Return the conditions in a request's Cache-Control header."""
    directives: dict[str, str] = {}
    for directive in cache_control.lower().split(","):
        name, _, value = directive.partition("=")
        directives.setdefault(name.strip(), value.strip())
    found = CacheBounds(
        max_age_s=_seconds(directives.get("max-age")) or None,
        min_fresh_s=_seconds(directives.get("min-fresh")),
        max_stale_s=FOREVER_S if directives.get("max-stale") == "" else _seconds(directives.get("max-stale")),
        only_if_cached="only-if-cached" in directives,
    )
    return NO_BOUNDS if found == NO_BOUNDS else found


def _seconds(value: str | None) -> int | None:
    found = _SECONDS.fullmatch(value or "")
    if found is None:
        return None
    digits = found[1].lstrip("0") or "0"
    return FOREVER_S if len(digits) > len(str(FOREVER_S)) else min(int(digits), FOREVER_S)
