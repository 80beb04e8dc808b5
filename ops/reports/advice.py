"""Advice on whether to precompute a report: a decision from measurements, without I/O.

    fix          a view runs the same query for many nodes one by one, and one query for all of them is quick
                 enough: change the application's query; precomputing would only hide it
    precompute   even the better way is slow (2 s and more for a view), or all views together take more than 5 % of
                 one processor of the database
    leave        neither: query the database directly

V views a minute at q ms each cost the database V * q; F refreshes a minute at c ms each cost F * c, for any number
of views. The saving is 1 - F * c / (V * q), which may be negative: then precomputing gives quick and steady
responses, even while the database is down, but saves no database time, and the advice says so.
"""

from dataclasses import dataclass
from typing import Literal

SLOW_MS = 2_000.0
"""From this duration on a view is too slow for a direct query."""
BUSY_SHARE = 0.05
"""The part of one processor of the database that all views of a report may take together."""
SIMILAR = 20
"""Number of statements of one shape in a view above which the query needs fixing."""
_MINUTE_MS = 60_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Measurements of a report.

    Attributes:
        set_ms: duration of the report's query for all nodes, with its tree.
        walk_ms: duration of one view's statements today; None if its query was not given.
        statements: number of statements of one shape in such a view.
        read_ms: duration of reading one stored document from Redis; None if none is stored.
        views: views a minute.
        refreshes: refreshes a minute, at most.
    """

    set_ms: float
    walk_ms: float | None = None
    statements: int = 1
    read_ms: float | None = None
    views: float = 10.0
    refreshes: float = 12.0

    @property
    def view_ms(self) -> float:
        """Duration of a view on the database today, as far as known."""
        return self.set_ms if self.walk_ms is None else self.walk_ms


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice with its reasons.

    Attributes:
        saved: the share of the database's time for this report that precomputing would save; below 0 it costs
            more.
    """

    do: Literal["fix", "precompute", "leave"]
    reasons: tuple[str, ...]
    saved: float


def advise_on(it: Measurement) -> Advice:
    """Return the advice for these measurements.

    >>> advise_on(Measurement(set_ms=5.0)).do
    'leave'
    """
    saved = 1 - it.refreshes * it.set_ms / (it.views * it.view_ms)
    one_by_one = it.walk_ms is not None and it.statements > SIMILAR
    too_much = _too_much(it.view_ms, it.views)
    if one_by_one and not _too_much(it.set_ms, it.views):
        today = f"a view runs {it.statements:,} statements of one shape, {it.view_ms:,.0f} ms together"
        return Advice(
            "fix", (today, f"one query for all nodes gives the same result in {it.set_ms:,.1f} ms"), saved
        )
    if too_much:
        return Advice("precompute", (*too_much, _balance(saved)), saved)
    enough = f"a view takes {it.view_ms:,.1f} ms (2 s would be too slow)"
    return Advice("leave", (enough, f"all views take {_share(it.view_ms, it.views):.1%} of a processor"), saved)


def _too_much(ms: float, views: float) -> tuple[str, ...]:
    """Return why views at this cost are too slow or too expensive; empty if they are neither."""
    reasons = []
    if ms >= SLOW_MS:
        reasons.append(f"a view takes {ms / 1000:,.1f} s, and 2 s is too slow")
    if (share := _share(ms, views)) > BUSY_SHARE:
        reasons.append(f"{views:g} views a minute take {share:.1%} of a processor of the database, over 5 %")
    return tuple(reasons)


def _share(ms: float, views: float) -> float:
    return views * ms / _MINUTE_MS


def _balance(saved: float) -> str:
    if saved > 0:
        return f"precomputed, it saves {saved:.1%} of that time"
    return "precomputed, it saves no database time, but views become quick and need no database"
