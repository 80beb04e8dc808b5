"""Caches of function results, limited by bytes.

A cache that counts entries grows with the largest entries that a client can cause. Here each entry has a size: a
large one is not kept, and the cache is cleared before it passes its limit.

A hit is a plain dictionary lookup, without a call of a Python function.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

ENTRY_BYTES: Final = 4096
"""Bytes of the largest entry that is kept."""
_OVERHEAD: Final = 300
"""Bytes of an entry besides its texts; about what Python needs."""
_EXPANSION: Final = 4
"""Ratio of the size of a result to that of its text."""

MEMOS: Final[list[ResultCache[Any, Any]]] = []
"""All result caches of this process; each is created when its module is loaded."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ResultCache(dict[K, V]):
    """Cache of the results of one function.

    Args:
        make: the function.
        limit: bytes of all entries together.
        weigh: returns the bytes of a key's texts.

    Example:
        >>> memo = ResultCache(str.lower, limit=10_000)
        >>> memo["A"], len(memo), memo["B" * 5000] == "b" * 5000, len(memo)
        ('a', 1, True, 1)
    """

    def __init__(self, make: Callable[[K], V], *, limit: int, weigh: Callable[[K], int] = len) -> None:  # type: ignore[assignment]  # most keys are strings
        super().__init__()
        self._make = make
        self._weigh = weigh
        self.limit = limit
        self.held = 0

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        weight = self._weigh(key)
        if weight > ENTRY_BYTES:
            return value
        weight = weight * _EXPANSION + _OVERHEAD
        if self.held + weight > self.limit:
            self.clear()
            self.held = 0
        self.held += weight
        self[key] = value
        return value


def memo(limit: int, weigh: Callable[[Any], int] = len) -> Callable[[Callable[[K], V]], Callable[[K], V]]:
    """Cache the results of a function of one argument; the decorated function is called like the original."""

    def remember(make: Callable[[K], V]) -> Callable[[K], V]:
        kept = ResultCache(make, limit=limit, weigh=weigh)
        MEMOS.append(kept)
        return kept.__getitem__

    return remember


class RecentNotes(OrderedDict[K, V]):
    """Cache of the most recent notes, limited by bytes; the oldest note is dropped first.

    Args:
        limit: bytes of all notes together, including their overhead.
        weigh: returns the bytes of one note, including its key.

    Example:
        >>> latest = RecentNotes[str, int](limit=1000, weigh=lambda key, _value: len(key))
        >>> for number, name in enumerate("abcd"):
        ...     latest.add_note(name, number)
        >>> list(latest), latest.held
        (['b', 'c', 'd'], 903)
    """

    def __init__(self, *, limit: int, weigh: Callable[[K, V], int]) -> None:
        super().__init__()
        self._weigh = weigh
        self.limit = limit
        self.held = 0

    def add_note(self, key: K, value: V) -> None:
        """Keep a note; replace one of the same key."""
        self.drop_note(key)
        self.held += self._weigh(key, value) + _OVERHEAD
        self[key] = value
        while self.held > self.limit:
            self.drop_note(next(iter(self)))

    def drop_note(self, key: K) -> None:
        """Drop the note of this key, if there is one."""
        if (value := self.get(key)) is not None:
            del self[key]
            self.held -= self._weigh(key, value) + _OVERHEAD
