"""Freshness of a report: the verdict on its age, and the headers that state it.

    fresh             age <= soft, and before valid_until
    stale             later, within the hard limit: served with a label
    too stale         past the hard limit, or more than a minute past valid_until: refused, unless the client
                      sends `max-stale`
    not fresh enough  within the report's limits, but not within this client's bounds

Age is counted from `verified_us`, the last moment at which the data was known to be true, not from its
computation: a report that was computed three hours ago and proved unchanged a second ago is a second old. If
clocks are in doubt (clock.py), the report is stale at best.

All functions are pure: the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from math import ceil

from clocks import moment
from reader.cache_control import NO_BOUNDS, CacheBounds
from reader.message import Headers
from reader.snapshot import Head, Meta

GRACE = timedelta(seconds=60)
"""Time past `valid_until` in which the old data may still be served, as stale, while new data is computed."""

SECOND_US = 1_000_000

_IN_DOUBT = "; detail=clocks-apart"
_STANDINGS = 64


class FreshnessVerdict(Enum):
    """Verdict on the age of a snapshot; the value is the name of its counter."""

    FRESH = "fresh"
    STALE = "stale"
    TOO_STALE = "too_stale"
    NOT_FRESH_ENOUGH = "not_fresh_enough"

    __hash__ = object.__hash__  # each is one object; Enum's own hash is a call into Python for every answer


@dataclass(slots=True, kw_only=True)
class Freshness:
    """A verdict and the times behind it, in microseconds; a negative time is in the past.

    Attributes:
        doubt: the clock that keeps the report from being called fresh, or empty.
    """

    verdict: FreshnessVerdict
    age_us: int
    fresh_for_us: int
    usable_for_us: int
    doubt: str = ""


def judge_freshness(meta: Meta, now_us: int, bounds: CacheBounds, doubt: str = "") -> Freshness:
    """Return the freshness of a report at `now_us`, for a client with these bounds.

    A `verified_us` after `now_us` counts as now: an age is never negative.

    Args:
        now_us: instant of the database's clock.
        doubt: the clock for which the report is not called fresh; empty if there is none.
    """
    age = max(0, now_us - meta.verified_us)
    fresh_for, usable_for = meta.soft_ms * 1000 - age, meta.hard_ms * 1000 - age
    if meta.valid_until_us is not None:
        valid_for = meta.valid_until_us - 1 - now_us  # at that instant it is no longer valid
        fresh_for = min(fresh_for, valid_for)
        usable_for = min(usable_for, valid_for + GRACE // timedelta(microseconds=1))
    if doubt:
        fresh_for = min(fresh_for, -1)
    verdict = _verdict(age, fresh_for, usable_for, bounds)
    return Freshness(verdict=verdict, age_us=age, fresh_for_us=fresh_for, usable_for_us=usable_for, doubt=doubt)


def _verdict(age_us: int, fresh_for_us: int, usable_for_us: int, bounds: CacheBounds) -> FreshnessVerdict:
    too_stale_for_client = bounds.max_stale_s is not None and -fresh_for_us > bounds.max_stale_s * SECOND_US
    if usable_for_us < 0 and (bounds.max_stale_s is None or too_stale_for_client):
        return FreshnessVerdict.TOO_STALE
    if too_stale_for_client or _misses(age_us, fresh_for_us, bounds):
        return FreshnessVerdict.NOT_FRESH_ENOUGH
    return FreshnessVerdict.FRESH if fresh_for_us >= 0 else FreshnessVerdict.STALE


def _misses(age_us: int, fresh_for_us: int, bounds: CacheBounds) -> bool:
    too_old = bounds.max_age_s is not None and age_us > bounds.max_age_s * SECOND_US
    too_short = bounds.min_fresh_s is not None and fresh_for_us < bounds.min_fresh_s * SECOND_US
    return too_old or too_short


@dataclass(slots=True)
class Standing:
    """Freshness of a report for clients without bounds, with the headers that state it.

    It is the same from `since_us` until just before `until_us`, because headers have whole seconds.
    """

    meta: Meta
    verdict: FreshnessVerdict
    headers: Headers
    since_us: int
    until_us: int


class Standings:
    """Cache of standings: each is computed once a second and not once a request.

    Args:
        doubt: returns the clock for which a report is not called fresh at an instant; empty if there is none.

    Example:
        >>> meta = Meta(gen=1, verified_us=0, valid_until_us=None, soft_ms=1, hard_ms=2, cost_ms=1)
        >>> standings = Standings()
        >>> standings.standing_at(meta, 1000) is standings.standing_at(meta, 900)
        False
    """

    def __init__(self, doubt: Callable[[Meta, int], str] = lambda _meta, _now_us: "") -> None:
        self._found: dict[int, Standing] = {}
        self._doubt = doubt

    def standing_at(self, meta: Meta, now_us: int) -> Standing:
        """Return the standing of a report; `now_us` is an instant of the database's clock."""
        found = self._found.get(id(meta))  # the standing holds `meta`, so that no other object can have its id
        if found is None or not found.since_us <= now_us < found.until_us:
            if len(self._found) >= _STANDINGS:
                self._found.clear()
            found = self._found[id(meta)] = judge_standing(meta, now_us, self._doubt(meta, now_us))
        return found


def judge_standing(meta: Meta, now_us: int, doubt: str = "") -> Standing:
    """Return the standing of a report at `now_us`, with the time until which it holds."""
    found = judge_freshness(meta, now_us, NO_BOUNDS, doubt)
    steady_for = min(
        SECOND_US - found.age_us % SECOND_US,
        found.fresh_for_us % SECOND_US + 1,
        found.usable_for_us % SECOND_US + 1,
    )
    return Standing(meta, found.verdict, of_report(found, meta), now_us, now_us + steady_for)


def is_dated(head: Head, meta: Meta) -> bool:
    """Return True if the second of the data's last change has passed, so that no other version has its date."""
    return meta.verified_us // SECOND_US > head.as_of_us // SECOND_US


@lru_cache(maxsize=16_384)
def of_document(etag: str, as_of_us: int, dated: bool) -> Headers:  # noqa: FBT001  cached by position
    """Return the headers that identify this version of a document."""
    tag = ("etag", f'W/"{etag}"')
    return (tag, ("last-modified", http_date(as_of_us))) if dated else (tag,)


def http_date(microseconds: int) -> str:
    """Return an instant as an HTTP date (RFC 9110, 5.6.7).

    >>> http_date(1_800_000_000_123_456)
    'Fri, 15 Jan 2027 08:00:00 GMT'
    """
    return formatdate(microseconds // SECOND_US, usegmt=True)


def of_report(freshness: Freshness, meta: Meta) -> Headers:
    """Return the headers that all documents of a report share for a second."""
    age_s, fresh_for_s = freshness.age_us // SECOND_US, freshness.fresh_for_us // SECOND_US
    return (
        ("as-of", as_of(meta.verified_us)),
        ("age", str(age_s)),
        ("freshness", freshness.verdict.value),
        ("report-gen", str(meta.gen)),
        ("cache-control", cache_control(freshness)),
        ("cache-status", f"reports; hit; ttl={fresh_for_s}{_IN_DOUBT if freshness.doubt else ''}"),
    )


def cache_control(freshness: Freshness) -> str:
    """Return Cache-Control: how long the client's cache may use the response, stale never past the hard limit.

    A cache counts from the origin of the response, which it computes from the Age header (RFC 9111, 4.2.3). So
    each number here is an age, not a time from now. With soft 30 s and hard 300 s the directives
    are the same at any age: max-age=30, stale-while-revalidate=270.
    """
    age_s, fresh_for_s = freshness.age_us // SECOND_US, freshness.fresh_for_us // SECOND_US
    usable_for_s = freshness.usable_for_us // SECOND_US
    max_age = age_s + fresh_for_s if fresh_for_s >= 0 else 0
    window = age_s + usable_for_s - max_age
    if usable_for_s < 0 or window <= 0:
        return f"private, max-age={max_age}"
    return f"private, max-age={max_age}, stale-while-revalidate={window}, stale-if-error={window}"


def as_of(microseconds: int) -> str:
    """Return an instant as RFC 3339 text, in UTC and milliseconds.

    >>> as_of(1_800_000_000_123_456)
    '2027-01-15T08:00:00.123Z'
    """
    return moment(microseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def retry_after_s(meta: Meta) -> int:
    """Return the seconds after which a refresh has probably ended: its duration and a second to be noticed."""
    return max(1, min(60, ceil(meta.cost_ms / 1000) + 1))


def etag_matches(if_none_match: str, etag: str) -> bool:
    """Return True if the client has this document: `*`, or any listed tag, compared weakly (RFC 9110, 13.1.2).

    >>> etag_matches('"a", W/"b"', "b"), etag_matches("*", "b"), etag_matches('"c"', "b")
    (True, True, False)
    """
    return if_none_match.strip() == "*" or f'"{etag}"' in if_none_match
