"""Results kept by what they were made of, bounded by bytes.

A cache that counts entries is as large as the largest entries that strangers can make. Here each entry is weighed;
a large one is not kept, and when all together weigh too much, the memo begins anew.

Looking up what is there is a plain dictionary's work, without a call into Python.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

ENTRY_BYTES: Final = 4096
"""The largest entry that is kept."""
_OVERHEAD: Final = 300
"""Bytes that an entry costs beside its texts; about what Python takes."""
_EXPANSION: Final = 4
"""How much larger a text may be as what was made of it."""

MEMOS: Final[list[ResultCache[Any, Any]]] = []
"""All that this process has; each is made once, when its module is loaded."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ResultCache(dict[K, V]):
    """The results of one function.

    Args:
        make: the function.
        limit: bytes of all entries together.
        weigh: bytes of a key's texts.

    Example:
        >>> memo = ResultCache(str.lower, limit=10_000)
        >>> memo["A"], len(memo), memo["B" * 5000] == "b" * 5000, len(memo)
        ('a', 1, True, 1)
    """

    def __init__(self, make: Callable[[K], V], *, limit: int, weigh: Callable[[K], int] = len) -> None:  # type: ignore[assignment]  # most keys are texts
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
    """Keep a function's results; its argument is one value. The result is called as the function is."""

    def remember(make: Callable[[K], V]) -> Callable[[K], V]:
        kept = ResultCache(make, limit=limit, weigh=weigh)
        MEMOS.append(kept)
        return kept.__getitem__

    return remember


class RecentNotes(OrderedDict[K, V]):
    """What was noted last, up to a number of bytes; the oldest note goes first.

    Args:
        limit: bytes of all notes together, with what keeping them costs.
        weigh: bytes of one note, its key included.

    Example:
        >>> latest = Latest[str, int](limit=1000, weigh=lambda key, _value: len(key))
        >>> for number, name in enumerate("abcd"):
        ...     latest.note(name, number)
        >>> list(latest), latest.held
        (['b', 'c', 'd'], 903)
    """

    def __init__(self, *, limit: int, weigh: Callable[[K, V], int]) -> None:
        super().__init__()
        self._weigh = weigh
        self.limit = limit
        self.held = 0

    def note(self, key: K, value: V) -> None:
        """Keep a note; one of the same key is replaced."""
        self.drop(key)
        self.held += self._weigh(key, value) + _OVERHEAD
        self[key] = value
        while self.held > self.limit:
            self.drop(next(iter(self)))

    def drop(self, key: K) -> None:
        """Forget the note of this key, if there is one."""
        if (value := self.get(key)) is not None:
            del self[key]
            self.held -= self._weigh(key, value) + _OVERHEAD
