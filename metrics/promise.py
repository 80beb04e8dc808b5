"""Promises of service: the oldest ready job of a lane, or a report, is no older than a limit for most of the time.

    mail.urgent:1m:99.9           the oldest ready job is at most a minute old in 99.9 % of the minutes
    report/management:2m:99       readers get that report at most two minutes old in 99 % of them

Each minute is kept or broken. What may be broken in 30 days is the error budget. The burn rate says how fast it is
used: at 1 it lasts just as long, at 14.4 two per cent of it is gone in an hour. Pure values; workers store the
minutes (`worker/promises.py`), and `ops depth` reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from durations import read_duration

WINDOW: Final = timedelta(days=30)
"""The time for which the error budget is counted."""
REPORT: Final = "report/"
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}|report/[a-z][a-z0-9_-]{0,62}", re.ASCII)
_PERCENT: Final = re.compile(r"\d{1,2}(?:\.\d{1,4})?", re.ASCII)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise.

    Attributes:
        name: a lane, or `report/` and a report.
        limit: the largest age that keeps it.
        target: the share of minutes in which it must be kept, between 0 and 1.
    """

    name: str
    limit: timedelta
    target: float

    @property
    def report(self) -> str:
        """The report's name; "" for a lane."""
        return self.name.removeprefix(REPORT) if self.name.startswith(REPORT) else ""

    @property
    def group(self) -> str:
        """The lane group whose keys hold its minutes."""
        return "reports" if self.report else self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Minutes:
    """Minutes in which a promise was kept, and in which it was broken."""

    kept: float = 0
    broken: float = 0

    def __add__(self, other: Minutes) -> Minutes:
        return Minutes(self.kept + other.kept, self.broken + other.broken)

    def scaled(self, share: float) -> Minutes:
        """Return a share of them, as if they were evenly spread."""
        return Minutes(self.kept * share, self.broken * share)


def read_promises(text: str) -> tuple[Promise, ...]:
    """Read promises separated by commas.

    Raises:
        ValueError: one is malformed, or two have the same name; the message quotes it.

    Example:
        >>> [(one.name, one.limit.total_seconds(), one.target) for one in read_promises("mail.bulk:1h:99.5")]
        [('mail.bulk', 3600.0, 0.995)]
    """
    found = tuple(_read_promise(part.strip()) for part in text.split(",")) if text.strip() else ()
    if len({one.name for one in found}) < len(found):
        raise ValueError("names a lane or report twice")
    return found


def _read_promise(text: str) -> Promise:
    name, _, rest = text.partition(":")
    age, _, percent = rest.partition(":")
    try:
        limit = read_duration(age)
    except ValueError:
        limit = timedelta(0)
    if not (_NAME.fullmatch(name) and limit > timedelta(0) and _PERCENT.fullmatch(percent) and float(percent)):
        raise ValueError(f"not NAME:AGE:PERCENT ({text})")
    return Promise(name, limit, float(percent) / 100)


def burn_rate(minutes: Minutes, target: float) -> float:
    """Return how fast these minutes used the error budget; 0 without any.

    >>> round(burn_rate(Minutes(kept=54, broken=6), target=0.99), 6)
    10.0
    """
    all_of_them = minutes.kept + minutes.broken
    return minutes.broken / all_of_them / (1 - target) if all_of_them else 0.0


def budget_left(minutes: Minutes, target: float) -> float:
    """Return the share of the 30-day error budget that is left; below 0 it is overdrawn.

    >>> round(budget_left(Minutes(kept=100, broken=216), target=0.99), 6)
    0.5
    """
    return 1 - minutes.broken / ((1 - target) * (WINDOW / _MINUTE))
