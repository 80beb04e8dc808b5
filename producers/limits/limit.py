"""Limits: how many jobs may begin in a time, and how many may run at once, fleet-wide. Values without I/O.

A limit has a key, ``account:main`` or ``customer:42``; one named ``customer:*`` stands for every customer that
has none of its own, each counted by itself. A lane may need one of several limits, the first that has room
(:class:`LaneLimit`), and a job may name one of its own (``send(..., limit="customer:42")``).

There are two kinds of rates. A :class:`Rate` is a token bucket: ``burst`` tokens at most, of which ``count`` grow
back in each ``per``. So any window of the length ``per`` may see up to ``count + burst - 1`` jobs begin: to keep
"at most 30 in any minute", which is what providers count, take :meth:`Rate.within`. It spreads what begins. A
:class:`Window` makes the same promise and spreads nothing, for a quota of which all may be needed at once, such as
500 a day.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import orjson

MOST_PLACES = 1000
"""Of a limit's concurrency: they are looked through when all are taken."""
MOST_PARTS = 200
"""Of a window: they are read by every claim."""
_KEY = re.compile(r"[A-Za-z0-9_.@+-]+(:([A-Za-z0-9_.@+-]+|\*))?\Z")
_KEY_LENGTH = 128
_RESERVED = ("hold:", "lane:", "slow:")
_LONGEST = timedelta(days=366)


class LimitError(ValueError):
    """A limit that cannot be: the message names the field and what is allowed."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many may begin in a time.

    Attributes:
        count: tokens that grow back in each ``per``.
        per: at most 366 days.
        burst: tokens in a whole bucket: how many may begin at once after a rest.

    Raises:
        LimitError: none of these, or not that many.

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
        """How many any window of the length ``per`` sees at most."""
        return self.count + self.burst - 1

    @classmethod
    def within(
        cls, count: int, per: timedelta, *, burst_share: float = 0.1, slack: timedelta = timedelta(0)
    ) -> Self:
        """A rate under which no window of the length ``per`` ever sees more than ``count`` begin.

        A window [t, t + per) sees at most burst - 1 + ceil(per / interval), the interval being the time in which
        one token grows back. With ``burst`` a share of ``count``, and ``count - burst + 1`` tokens in each
        ``per``, that is exactly ``count``.

        Args:
            burst_share: how much of ``count`` may begin at once, from 0 (one by one) to 1.
            slack: by how much more one job's effect may follow its beginning than another's. The other side counts
                effects, so the window is reckoned longer by this.

        Raises:
            LimitError: not that many.
        """
        _whole("count", count, 10**9)
        if not 0 <= burst_share <= 1:
            raise LimitError(f"burst_share: must be from 0 to 1, not {burst_share!r}")
        burst = max(1, math.floor(count * burst_share))
        return cls(count - burst + 1, per + slack, burst)


@dataclass(frozen=True, slots=True)
class Window:
    """How many may begin in any time of a length: none ever sees more than ``count``, and all may begin at once.

    It is counted in parts, and what began in one counts until the last that began in it must. So who asks without
    a pause gets ``parts / (parts + 1)`` of ``count`` in each ``per``: with 48 parts 98 percent.

    Attributes:
        count: how many any window of the length ``per`` sees at most.
        per: at most 366 days. The other side counts effects: add by how much more one job's effect may follow its
            beginning than another's.
        parts: in how many it is counted, at most 200. Of fewer less is kept in Redis, of more less is lost.

    Raises:
        LimitError: none of these, or not that many.

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
        """How many any window of the length ``per`` sees at most."""
        return self.count


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit by its key.

    Attributes:
        key: a name, or a family and a name, ``customer:42``; ``customer:*`` for all of a family.
        rates: all of them are kept at once, for example one per minute and one per day.
        concurrency: how many may run at once; None for any number.
        reserve: the share of every burst, every window and of the concurrency that only urgent lanes may take,
            from 0 to below 1; others are left one at least.

    Raises:
        LimitError: naming the field.

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
            raise LimitError(f"reserve: must be from 0 to below 1, not {self.reserve!r}")

    def to_json(self) -> bytes:
        """As Redis has it; the key is the field's name."""
        rates = [_told(one) for one in self.rates]
        return orjson.dumps({"rates": rates, "concurrency": self.concurrency, "reserve": self.reserve})

    @classmethod
    def from_json(cls, key: str, octets: bytes) -> Self:
        """From what Redis has.

        Raises:
            LimitError: it is no limit.
        """
        try:
            told = orjson.loads(octets)
            rates = tuple(_rate(one) for one in told["rates"])
            return cls(key, rates, told.get("concurrency"), told.get("reserve") or 0.0)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise LimitError(f"{key}: what Redis has is no limit ({error}); define it again") from error


@dataclass(frozen=True, slots=True)
class LaneLimit:
    """Which limits the jobs of a lane need: one of these, the first that has room.

    Attributes:
        keys: in the order in which they are tried; empty for none.
        urgent: whether its jobs may take the reserve, also of limits that they name themselves.
    """

    keys: Sequence[str] = ()
    urgent: bool = False

    def __post_init__(self) -> None:
        for key in self.keys:
            check_key(key)

    def to_json(self) -> bytes:
        """As Redis has it."""
        return orjson.dumps({"keys": list(self.keys), "urgent": self.urgent})


def check_key(key: str) -> str:
    """The key, if a limit may have it.

    Raises:
        LimitError: saying what one looks like.
    """
    good = isinstance(key, str) and len(key) <= _KEY_LENGTH and _KEY.match(key) and not key.startswith(_RESERVED)
    if not good:
        raise LimitError(
            f"limit: {key!r} is no key; it is a name, or a family and a name, like customer:42, of letters, "
            f"digits and . _ @ + -, at most {_KEY_LENGTH}, and the family is none of hold, lane, slow"
        )
    return key


def _told(rate: Rate | Window) -> Mapping[str, Any]:
    kind = {"parts": rate.parts} if isinstance(rate, Window) else {"burst": rate.burst}
    return {"count": rate.count, "per_ms": rate.per / timedelta(milliseconds=1), **kind}


def _rate(told: Mapping[str, Any]) -> Rate | Window:
    count, per = int(told["count"]), timedelta(milliseconds=told["per_ms"])
    return Window(count, per, int(told["parts"])) if "parts" in told else Rate(count, per, int(told["burst"]))


def _length(per: timedelta) -> None:
    if not isinstance(per, timedelta) or not timedelta(milliseconds=1) <= per <= _LONGEST:
        raise LimitError(f"per: must be a timedelta from 1 ms to {_LONGEST.days} days, not {per!r}")


def _whole(name: str, number: int, most: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise LimitError(f"{name}: must be a whole number from 1 to {most}, not {number!r}")
