"""Whether a report should be computed ahead of time: a decision over measurements, without I/O.

    fix          a view asks the same of many nodes one by one, and one query for all of them is quick enough:
                 change the application's query; computing ahead would only hide it
    precompute   even the better way is slow (2 s and more for a view), or views together take more than 5 % of
                 one processor of the database
    leave        neither: ask the database directly

Views a minute V at q ms each cost the database V * q; refreshes F a minute at c ms each cost F * c, however many
look. What is saved is 1 - F * c / (V * q), which may be less than nothing: then computing ahead buys quick and
steady answers, also while the database is away, but no time of the database, and that is said.
"""

from dataclasses import dataclass
from typing import Literal

SLOW_MS = 2_000.0
"""From here on a view is too slow to be asked of the database directly."""
BUSY_SHARE = 0.05
"""The part of one processor of the database that views of a report may take together."""
SIMILAR = 20
"""More statements of one shape than this for one view are a query to be fixed."""
_MINUTE_MS = 60_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured.

    Attributes:
        set_ms: the report's query, once for all nodes, and its tree.
        walk_ms: one view the present way, all its statements; None when that was not given.
        statements: how many statements of one shape such a view issues.
        read_ms: one stored document out of Redis; None when nothing is stored.
        views: how often people look, a minute.
        refreshes: how often the report would be refreshed, a minute, at the most.
    """

    set_ms: float
    walk_ms: float | None = None
    statements: int = 1
    read_ms: float | None = None
    views: float = 10.0
    refreshes: float = 12.0

    @property
    def view_ms(self) -> float:
        """What a view costs the database today, as far as it is known."""
        return self.set_ms if self.walk_ms is None else self.walk_ms


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do and why.

    Attributes:
        saved: of the database's time for this report, the part that computing ahead would save; below 0 it costs
            more.
    """

    do: Literal["fix", "precompute", "leave"]
    reasons: tuple[str, ...]
    saved: float


def advise_on(it: Measurement) -> Advice:
    """The advice for these measurements.

    >>> advise_on(Measurement(set_ms=5.0)).do
    'leave'
    """
    saved = 1 - it.refreshes * it.set_ms / (it.views * it.view_ms)
    one_by_one = it.walk_ms is not None and it.statements > SIMILAR
    too_much = _too_much(it.view_ms, it.views)
    if one_by_one and not _too_much(it.set_ms, it.views):
        asked = f"a view asks {it.statements:,} statements of one shape, {it.view_ms:,.0f} ms together"
        return Advice("fix", (asked, f"one query for all nodes answers the same in {it.set_ms:,.1f} ms"), saved)
    if too_much:
        return Advice("precompute", (*too_much, _balance(saved)), saved)
    enough = f"a view takes {it.view_ms:,.1f} ms (2 s would be too slow)"
    return Advice("leave", (enough, f"all views take {_share(it.view_ms, it.views):.1%} of a processor"), saved)


def _too_much(ms: float, views: float) -> tuple[str, ...]:
    """Why views at this cost are too slow or too dear; empty when they are neither."""
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
        return f"computed ahead, it saves {saved:.1%} of that time"
    return "computed ahead, it saves no time of the database, but views become quick and need no database"
