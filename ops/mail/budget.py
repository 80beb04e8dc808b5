"""What is left of one rate of an account, and what it will give: pure, from the text that Redis has of it.

A bucket fills evenly. A window gives back what began when that is over, and then as much again and again: whoever
takes all that it has at once gets the next at the same time of the next turn.

What cannot be read counts as all used up, as the claim takes it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import orjson

from producers.limits.limit import Rate, Window

_BUCKET = re.compile(r"(\d+(?:\.\d+)?)(?:@.*)?", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketBudget:
    """Of a bucket.

    Attributes:
        tokens: that may be taken now.
    """

    rate: Rate
    tokens: float

    @classmethod
    def read(cls, rate: Rate, text: str, now_ms: float) -> Self:
        """From what Redis has of it, ``""`` for nothing."""
        found = _BUCKET.fullmatch(text or "0")
        whole_at = float(found[1]) if found else math.inf
        used = max(0.0, whole_at - now_ms) * rate.count / (rate.per / _MILLISECOND)
        return cls(rate=rate, tokens=rate.burst - min(used, rate.burst))

    def within(self, time: timedelta, *, pace: float = 1.0, reserve: float = 0.0) -> float:
        """How many it lets through in a time from now.

        Args:
            pace: the share of it that counts.
            reserve: the share of what may begin at once that is left to others.
        """
        flowing = self.rate.count * pace * (time / self.rate.per)
        return max(0.0, self.tokens - reserve * self.rate.burst) + flowing


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBudget:
    """Of a window.

    Attributes:
        begun: how many began, and in which time they count no more.
        turn: after which the same may begin again.
    """

    rate: Window
    begun: tuple[tuple[timedelta, int], ...]
    turn: timedelta

    @classmethod
    def read(cls, rate: Window, text: str, now_ms: float) -> Self:
        """From what Redis has of it, ``""`` for nothing."""
        turn = rate.per + rate.per / rate.parts
        try:
            begun = tuple(_begun(rate, text, now_ms)) if text else ()
        except (ValueError, TypeError, LookupError, OverflowError):
            begun = ((turn, rate.count),)
        return cls(rate=rate, begun=begun, turn=turn)

    @property
    def tokens(self) -> float:
        """How many may begin now."""
        return max(0.0, self.rate.count - sum(count for _, count in self.begun))

    def within(self, time: timedelta, *, pace: float = 1.0, reserve: float = 0.0) -> float:
        """How many it lets through in a time from now; see :meth:`BucketBudget.within`."""
        whole = max(1, math.floor(self.rate.count * pace))
        usable = whole - min(whole - 1, math.ceil(whole * reserve))
        turns, rest = divmod(time, self.turn)
        return turns * usable + max(0, usable - sum(count for over, count in self.begun if over > rest))


def _begun(window: Window, text: str, now_ms: float) -> Iterator[tuple[timedelta, int]]:
    length_ms, *kept = orjson.loads(text.partition("@")[2])
    for part, count in zip(kept[::2], kept[1::2], strict=True):
        over = window.per + ((part + 1) * length_ms - now_ms) * _MILLISECOND
        if over > timedelta(0):
            yield over, count


def read_budget(rate: Rate | Window, octets: bytes | None, now_ms: float) -> BucketBudget | WindowBudget:
    """What is left of a rate.

    Args:
        octets: what Redis has of it; None for nothing.
    """
    text = (octets or b"").decode(errors="replace")
    return (
        WindowBudget.read(rate, text, now_ms)
        if isinstance(rate, Window)
        else BucketBudget.read(rate, text, now_ms)
    )
