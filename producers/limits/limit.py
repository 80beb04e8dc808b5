"""Limits on the number of jobs that start in a time and that run at once, across all workers. Values without I/O.

A limit has a key, ``account:main`` or ``customer:42``; the limit ``customer:*`` applies to every customer without
a limit of that name, and counts each customer separately. A lane may need one of several limits, the first that
has room (:class:`LaneLimit`), and a job may name a limit of its own (``send(..., limit="customer:42")``).

There are two kinds of rates. A :class:`Rate` is a token bucket: it holds at most ``burst`` tokens and refills by
``count`` in each ``per``. So up to ``count + burst - 1`` jobs may start in any time of the length ``per``: to keep
"at most 30 in any minute", as providers count, use :meth:`Rate.within`. A rate spreads the starts. A
:class:`Window` keeps the same maximum without spreading, for a quota that may be needed all at once, such as 500 a
day.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import orjson

from ..limit_key import LimitError as LimitError, check_key as check_key

MOST_PLACES = 1000
"""The largest concurrency of a limit: a claim reads all places when they are taken."""
MOST_PARTS = 200
"""The largest number of parts of a window: every claim reads them."""
_LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Rate:
    """Token bucket that limits how many jobs start in a time.

    Attributes:
        count: tokens that are refilled in each ``per``.
        per: time in which ``count`` tokens are refilled, at most 366 days.
        burst: tokens in a full bucket: number of jobs that may start at once after a pause.

    Raises:
        LimitError: a field is out of range.

    Example:
        >>> Rate.within(30, timedelta(minutes=1))
        Rate(count=28, per=datetime.timedelta(seconds=60), burst=3)
    """

    count: int
    per: timedelta
    burst: int = 1

    def __post_init__(self) -> None:
        _whole("count", self.count, 10**9)
        _whole("burst", self.burst, 10**9)
        _length(self.per)

    @property
    def most(self) -> int:
        """The maximum number of starts in any time of the length ``per``."""
        return self.count + self.burst - 1

    @classmethod
    def within(
        cls, count: int, per: timedelta, *, burst_share: float = 0.1, slack: timedelta = timedelta(0)
    ) -> Self:
        """Return a rate under which at most ``count`` jobs start in any time of the length ``per``.

        In [t, t + per) at most burst - 1 + ceil(per / interval) jobs start, the interval being the time in which
        one token is refilled. With ``burst`` a share of ``count``, and ``count - burst + 1`` tokens in each
        ``per``, that is exactly ``count``.

        Args:
            burst_share: share of ``count`` that may start at once, from 0 (one by one) to 1.
            slack: largest difference between two jobs in the delay from start to effect. A provider counts
                effects, so ``per`` is extended by it.

        Raises:
            LimitError: an argument is out of range.
        """
        _whole("count", count, 10**9)
        if not 0 <= burst_share <= 1:
            raise LimitError(f"burst_share: must be from 0 to 1, not {burst_share!r}")
        burst = max(1, math.floor(count * burst_share))
        return cls(count - burst + 1, per + slack, burst)


@dataclass(frozen=True, slots=True)
class Window:
    """Sliding window: at most ``count`` jobs start in any time of the length ``per``, and all may start at once.

    Starts are counted in parts of the window, and all starts of one part count until the last of them expires. So
    under constant load ``parts / (parts + 1)`` of ``count`` start in each ``per``: 98 percent with 48 parts.

    Attributes:
        count: maximum number of starts in any time of the length ``per``.
        per: length of the window, at most 366 days. A provider counts effects: add the largest difference between
            two jobs in the delay from start to effect.
        parts: number of parts, at most 200. Fewer parts take less memory in Redis, more parts lose less of
            ``count``.

    Raises:
        LimitError: a field is out of range.

    Example:
        Window(500, timedelta(days=1))
    """

    count: int
    per: timedelta
    parts: int = 48

    def __post_init__(self) -> None:
        _whole("count", self.count, 10**9)
        _length(self.per)
        _whole("parts", self.parts, MOST_PARTS)

    @property
    def most(self) -> int:
        """The maximum number of starts in any time of the length ``per``."""
        return self.count


@dataclass(frozen=True, slots=True)
class Limit:
    """Limit on the starts and the concurrency of jobs.

    Attributes:
        key: a name, or a family and a name, ``customer:42``; ``customer:*`` for all of a family.
        rates: rates that all apply together, for example one per minute and one per day.
        concurrency: maximum number of jobs that run at once; None for any number.
        reserve: share of every burst, every window and of the concurrency that only urgent lanes may use, from 0
            to below 1; other lanes keep at least one.

    Raises:
        LimitError: a field is out of range; the message names it.

    Example:
        Limit("account:main", (Rate.within(30, timedelta(minutes=1)),), concurrency=5, reserve=0.2)
    """

    key: str
    rates: tuple[Rate | Window, ...] = ()
    concurrency: int | None = None
    reserve: float = 0.0

    def __post_init__(self) -> None:
        check_key(self.key)
        object.__setattr__(self, "rates", tuple(self.rates))
        if self.concurrency is not None:
            _whole("concurrency", self.concurrency, MOST_PLACES)
        if not 0 <= self.reserve < 1:
            raise LimitError(f"reserve: must be at least 0 and below 1, not {self.reserve!r}")

    def to_json(self) -> bytes:
        """Encode the limit as stored in Redis; its key is the name of the hash field."""
        rates = [_rate_fields(rate) for rate in self.rates]
        return orjson.dumps({"rates": rates, "concurrency": self.concurrency, "reserve": self.reserve})

    @classmethod
    def from_json(cls, key: str, encoded: bytes) -> Self:
        """Decode a limit as stored in Redis.

        Raises:
            LimitError: the stored bytes are not a limit.
        """
        try:
            fields = orjson.loads(encoded)
            rates = tuple(_rate(one) for one in fields["rates"])
            return cls(key, rates, fields.get("concurrency"), fields.get("reserve") or 0.0)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise LimitError(f"{key}: the stored definition is not a limit ({error}); define it again") from error


@dataclass(frozen=True, slots=True)
class LaneLimit:
    """Binding of a lane to limits: each job of the lane needs one of them, the first that has room.

    Attributes:
        keys: keys of the limits in the order in which they are tried; empty for none.
        urgent: True if the lane's jobs may use the reserve, including that of limits that they name themselves.
    """

    keys: Sequence[str] = ()
    urgent: bool = False

    def __post_init__(self) -> None:
        for key in self.keys:
            check_key(key)

    def to_json(self) -> bytes:
        """Encode the binding as stored in Redis."""
        return orjson.dumps({"keys": list(self.keys), "urgent": self.urgent})


def _rate_fields(rate: Rate | Window) -> Mapping[str, Any]:
    kind = {"parts": rate.parts} if isinstance(rate, Window) else {"burst": rate.burst}
    return {"count": rate.count, "per_ms": rate.per / timedelta(milliseconds=1), **kind}


def _rate(fields: Mapping[str, Any]) -> Rate | Window:
    count, per = int(fields["count"]), timedelta(milliseconds=fields["per_ms"])
    return (
        Window(count, per, int(fields["parts"])) if "parts" in fields else Rate(count, per, int(fields["burst"]))
    )


def _length(per: timedelta) -> None:
    if not isinstance(per, timedelta) or not timedelta(milliseconds=1) <= per <= _LONGEST:
        raise LimitError(f"per: must be a timedelta from 1 ms to {_LONGEST.days} days, not {per!r}")


def _whole(name: str, number: int, most: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise LimitError(f"{name}: must be a whole number from 1 to {most}, not {number!r}")
