"""Whether a report is true enough to be served, and the headers that say how true it is.

    fresh             age <= soft, and time has not overtaken it
    stale             past that, within the hard limit: served, and labelled
    too stale         past the hard limit, or past valid_until and a minute's grace: refused, unless the client
                      said `max-stale`
    not fresh enough  good enough for us, not for this client's own bounds

Age is counted from `verified_us`, the last moment at which the data was known to be true, not from its
computation: what was computed three hours ago and proved unchanged a second ago is a second old. What clocks leave
in doubt (clock.py) is stale at best.

All of it is pure: the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from math import ceil

from reader.cache_control import NO_BOUNDS, CacheBounds
from reader.message import Headers
from reader.snapshot import Head, Meta, moment

GRACE = timedelta(seconds=60)
"""How long past `valid_until` the old answer may still be served, as stale, while a new one is computed."""

SECOND_US = 1_000_000

_IN_DOUBT = "; detail=clocks-apart"
_STANDINGS = 64
_SAID = 1024
"""Headers that a standing keeps: those of documents read within one second."""


class FreshnessVerdict(Enum):
    """What may be done with a snapshot; the value is the counter it belongs to."""

    FRESH = "fresh"
    STALE = "stale"
    TOO_STALE = "too_stale"
    NOT_FRESH_ENOUGH = "not_fresh_enough"

    __hash__ = object.__hash__  # each is one object; Enum's own hash is a call into Python for every answer


@dataclass(slots=True, kw_only=True)
class Freshness:
    """A verdict and the times behind it, in microseconds. Negative: that long ago.

    Attributes:
        doubt: whose clock keeps it from being fresh; empty: none.
    """

    verdict: FreshnessVerdict
    age_us: int
    fresh_for_us: int
    usable_for_us: int
    doubt: str = ""


def judge(meta: Meta, now_us: int, bounds: CacheBounds, doubt: str = "") -> Freshness:
    """How fresh the report is at `now_us`, for a client with these bounds.

    A `verified_us` ahead of that counts as now: no age is ever negative.

    Args:
        now_us: by the database's clock.
        doubt: whose clock keeps it from being fresh; empty: none.
    """
    age = max(0, now_us - meta.verified_us)
    fresh_for, usable_for = meta.soft_ms * 1000 - age, meta.hard_ms * 1000 - age
    if meta.valid_until_us is not None:
        valid_for = meta.valid_until_us - 1 - now_us  # at that very moment it is no longer valid
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
    """How a report stands for clients without bounds, and the headers that say so.

    The same from `since_us` until just before `until_us`, because all that is said is in whole seconds.
    """

    meta: Meta
    verdict: FreshnessVerdict
    headers: Headers
    since_us: int
    until_us: int
    said: dict[tuple[str, int, str], Headers] = field(default_factory=dict)
    """Headers of its documents, by ETag, last change and encoding; equal data may have changed at other times."""

    def keep(self, name: tuple[str, int, str], said: Headers) -> None:
        """Keep a document's headers; when there are too many, begin anew."""
        if len(self.said) >= _SAID:
            self.said.clear()
        self.said[name] = said


class Standings:
    """How reports stand, found once a second for each and not once a request.

    Args:
        doubt: whose clock keeps a report from being fresh at an instant; empty: none.

    Example:
        >>> meta = Meta(gen=1, verified_us=0, valid_until_us=None, soft_ms=1, hard_ms=2, cost_ms=1)
        >>> standings = Standings()
        >>> standings.at(meta, 1000) is standings.at(meta, 900)
        False
    """

    def __init__(self, doubt: Callable[[Meta, int], str] = lambda _meta, _now_us: "") -> None:
        self._found: dict[int, Standing] = {}
        self._doubt = doubt

    def at(self, meta: Meta, now_us: int) -> Standing:
        """How this report stands; `now_us` is by the database's clock."""
        found = self._found.get(id(meta))  # kept with it, so that no other can have its id
        if found is None or not found.since_us <= now_us < found.until_us:
            if len(self._found) >= _STANDINGS:
                self._found.clear()
            found = self._found[id(meta)] = stand(meta, now_us, self._doubt(meta, now_us))
        return found


def stand(meta: Meta, now_us: int, doubt: str = "") -> Standing:
    """How the report stands at `now_us`, and for how long that is so."""
    found = judge(meta, now_us, NO_BOUNDS, doubt)
    steady_for = min(
        SECOND_US - found.age_us % SECOND_US,
        found.fresh_for_us % SECOND_US + 1,
        found.usable_for_us % SECOND_US + 1,
    )
    return Standing(meta, found.verdict, of_report(found, meta), now_us, now_us + steady_for)


def headers_of(freshness: Freshness, meta: Meta, head: Head) -> Headers:
    """The headers that let a client, a cache and a person judge the age of a served document."""
    return of_document(head.etag, head.as_of_us, is_dated(head, meta)) + of_report(freshness, meta)


def is_dated(head: Head, meta: Meta) -> bool:
    """Whether the second in which the data last changed is over, so that no other version can have its date."""
    return meta.verified_us // SECOND_US > head.as_of_us // SECOND_US


@lru_cache(maxsize=16_384)
def of_document(etag: str, as_of_us: int, dated: bool) -> Headers:  # noqa: FBT001  cached by place
    """What tells this document from its other versions."""
    tag = ("etag", f'W/"{etag}"')
    return (tag, ("last-modified", http_date(as_of_us))) if dated else (tag,)


def http_date(microseconds: int) -> str:
    """A moment as HTTP writes it (RFC 9110, 5.6.7).

    >>> http_date(1_800_000_000_123_456)
    'Fri, 15 Jan 2027 08:00:00 GMT'
    """
    return formatdate(microseconds // SECOND_US, usegmt=True)


def of_report(freshness: Freshness, meta: Meta) -> Headers:
    """What is the same for all documents of a report, for a second."""
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
    """How long the client's own cache may use this answer; stale, never past the hard limit.

    A cache counts from the answer's birth, of which it learns by the Age header (RFC 9111, 4.2.3); so every
    number here is an age to be reached, not a time from now. With soft 30 s and hard 300 s the directives
    are the same whatever the age: max-age=30, stale-while-revalidate=270.
    """
    age_s, fresh_for_s = freshness.age_us // SECOND_US, freshness.fresh_for_us // SECOND_US
    usable_for_s = freshness.usable_for_us // SECOND_US
    max_age = age_s + fresh_for_s if fresh_for_s >= 0 else 0
    window = age_s + usable_for_s - max_age
    if usable_for_s < 0 or window <= 0:
        return f"private, max-age={max_age}"
    return f"private, max-age={max_age}, stale-while-revalidate={window}, stale-if-error={window}"


def as_of(microseconds: int) -> str:
    """A moment in RFC 3339, UTC, to the millisecond.

    >>> as_of(1_800_000_000_123_456)
    '2027-01-15T08:00:00.123Z'
    """
    return moment(microseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def retry_after_s(meta: Meta) -> int:
    """Seconds after which a refresh may well have happened: the time one takes and a second to be noticed."""
    return max(1, min(60, ceil(meta.cost_ms / 1000) + 1))


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the client holds this document: `*`, or any listed tag, compared weakly (RFC 9110, 13.1.2).

    >>> matches('"a", W/"b"', "b"), matches("*", "b"), matches('"c"', "b")
    (True, True, False)
    """
    return if_none_match.strip() == "*" or f'"{etag}"' in if_none_match
