"""Budgets of a limit's rates: the rest of each and its future flow. Pure, from the text that Redis stores.

A bucket fills evenly. A window returns its capacity when the jobs that used it grow old, and again after each
renewal period: if all of it is used at once, the next capacity comes one such period later.

Text that cannot be read counts as used up, as in the claim.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import orjson

from producers.limits.limit import Rate, Window

_BUCKET = re.compile(r"(\d+(?:\.\d+)?)(?:@.*)?", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBudget:
    """Budget of a bucket.

    Attributes:
        tokens: number of tokens that may be used now.
    """

    rate: Rate
    tokens: float

    @classmethod
    def from_text(cls, rate: Rate, text: str, now_ms: float) -> Self:
        """Read the text that Redis stores, ``""`` for none."""
        found = _BUCKET.fullmatch(text or "0")
        whole_at = float(found[1]) if found else math.inf
        used = max(0.0, whole_at - now_ms) * rate.count / (rate.per / _MILLISECOND)
        return cls(rate=rate, tokens=rate.burst - min(used, rate.burst))

    def capacity_within(self, time: timedelta, *, pace: float = 1.0, reserve: float = 0.0) -> float:
        """Return the number of jobs that it allows within a time from now.

        Args:
            pace: the usable share of the rate.
            reserve: the share of the burst that is kept for other lanes.
        """
        flowing = self.rate.count * pace * (time / self.rate.per)
        return max(0.0, self.tokens - reserve * self.rate.burst) + flowing


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBudget:
    """Budget of a window.

    Attributes:
        started: pairs of the time until they no longer count, and the number of jobs that started.
        renewal: the time after which the same number may start again.
    """

    rate: Window
    started: tuple[tuple[timedelta, int], ...]
    renewal: timedelta

    @classmethod
    def from_text(cls, rate: Window, text: str, now_ms: float) -> Self:
        """Read the text that Redis stores, ``""`` for none."""
        renewal = rate.per + rate.per / rate.parts
        try:
            started = tuple(_started(rate, text, now_ms)) if text else ()
        except (ValueError, TypeError, LookupError, OverflowError):
            started = ((renewal, rate.count),)
        return cls(rate=rate, started=started, renewal=renewal)

    @property
    def tokens(self) -> float:
        """Number of jobs that may start now."""
        return max(0.0, self.rate.count - sum(count for _, count in self.started))

    def capacity_within(self, time: timedelta, *, pace: float = 1.0, reserve: float = 0.0) -> float:
        """Return the jobs that it allows within a time from now; see :meth:`BucketBudget.capacity_within`."""
        whole = max(1, math.floor(self.rate.count * pace))
        usable = whole - min(whole - 1, math.ceil(whole * reserve))
        renewals, rest = divmod(time, self.renewal)
        return renewals * usable + max(0, usable - sum(count for over, count in self.started if over > rest))


def _started(window: Window, text: str, now_ms: float) -> Iterator[tuple[timedelta, int]]:
    length_ms, *kept = orjson.loads(text.partition("@")[2])
    for part, count in zip(kept[::2], kept[1::2], strict=True):
        over = window.per + ((part + 1) * length_ms - now_ms) * _MILLISECOND
        if over > timedelta(0):
            yield over, count


def read_budget(rate: Rate | Window, stored: bytes | None, now_ms: float) -> BucketBudget | WindowBudget:
    """Return the budget of a rate.

    Args:
        stored: the text that Redis stores; None for none.
    """
    text = (stored or b"").decode(errors="replace")
    return (
        WindowBudget.from_text(rate, text, now_ms)
        if isinstance(rate, Window)
        else BucketBudget.from_text(rate, text, now_ms)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitBudget:
    """Capacity of one limit.

    Attributes:
        rates: the rates that all apply; empty: none.
        pace: the usable share, after a throttle.
        reserve: the share kept for other lanes.
        opens_in: time until jobs begin under it again; None: until an operator releases it.
    """

    rates: Sequence[BucketBudget | WindowBudget] = ()
    pace: float = 1.0
    reserve: float = 0.0
    opens_in: timedelta | None = timedelta(0)

    def capacity_within(self, time: timedelta) -> float:
        """Return the number of jobs that it allows within a time from now."""
        if self.opens_in is None or time < self.opens_in:
            return 0
        given = (one.capacity_within(time, pace=self.pace, reserve=self.reserve) for one in self.rates)
        return min(given, default=math.inf)


def time_within(jobs: float, budgets: Sequence[LimitBudget], *, arriving: float = 0.0) -> timedelta | None:
    """Return the shortest sufficient time for jobs that need one of the limits, in whole seconds.

    None if a year does not suffice. The capacity never shrinks with time.

    Args:
        arriving: further such jobs in each second.
    """

    def enough(seconds: int) -> bool:
        wanted = jobs + arriving * seconds - 1e-6
        return sum(one.capacity_within(timedelta(seconds=seconds)) for one in budgets) >= wanted

    lowest, highest, longest = 0, 64, round(_LONGEST.total_seconds())
    while not enough(highest):
        if highest == longest:
            return None
        lowest, highest = highest + 1, min(2 * highest, longest)
    while lowest < highest:
        middle = (lowest + highest) // 2
        lowest, highest = (lowest, middle) if enough(middle) else (middle + 1, highest)
    return timedelta(seconds=lowest)
