"""Replies of Redis kept in this process, and how far each may be believed.

A reply is current while Redis has not told of a change of its key and the connection that would tell lives; then
it may stand in for asking. When the connection is lost it is a memory: good enough for an answer that says how
old it is, for as long as the report's own limits allow, and for nothing else.

Redis tells of a change after the replies that it makes old, on the same connection, so that no reply can arrive
later than the word that it is outdated. What was on its way when a change came is kept as a memory only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

_OVERHEAD = 200
"""Octets that an entry costs beside its values; about what Python takes."""

Value = Any
"""A reply, or what was made of it; nobody changes it."""
Entry = tuple[Value, int, tuple[str, Hashable]]
"""What is kept, what it costs, and its name."""


class Copy:
    """The most recently used replies, up to a number of octets.

    Args:
        octets: of all values together, with what keeping them costs.

    Example:
        >>> copy = Copy(octets=10_000)
        >>> copy.keep("key", "field", [b"value"], size=5)
        >>> copy.current("key", "field")
        [b'value']
        >>> copy.changed([b"key"])
        >>> copy.current("key", "field"), copy.remembered("key", "field")
        (None, [b'value'])
    """

    def __init__(self, *, octets: int) -> None:
        self._limit = octets
        self._size = 0
        self._entries: OrderedDict[tuple[str, Hashable], Entry] = OrderedDict()
        self._current: dict[str, dict[Hashable, Entry]] = {}
        self._is_told = True
        self.generation = 0
        """Grows with every change told: whoever asks notes it, and hands it back with the reply."""

    def current(self, key: str, part: Hashable) -> Value | None:
        """What was read of the key, if nothing has changed there since."""
        parts = self._current.get(key)
        return None if parts is None else self._use(parts.get(part))

    def remembered(self, key: str, part: Hashable) -> Value | None:
        """What was last read of the key, however long ago."""
        return self._use(self._entries.get((key, part)))

    def keep(self, key: str, part: Hashable, value: Value, *, size: int, asked_at: int | None = None) -> None:
        """Keep a reply; as a memory only, if something changed since it was asked for."""
        if not self._is_told:
            return
        self._forget((key, part))
        entry = self._entries[key, part] = (value, size + _OVERHEAD, (key, part))
        self._size += size + _OVERHEAD
        if asked_at is None or asked_at == self.generation:
            self._current.setdefault(key, {})[part] = entry
        while self._size > self._limit:
            self._forget(next(iter(self._entries)))

    def changed(self, keys: list[bytes] | None) -> None:
        """These keys have changed; None: nothing is known to be current any longer."""
        self.generation += 1
        if keys is None:
            self._current.clear()
            return
        for key in keys:
            self._current.pop(key.decode(errors="replace"), None)

    def told(self, is_told: bool, /) -> None:  # noqa: FBT001  the fact itself
        """Take note whether Redis tells of changes: where it does not, nothing is kept, not even as a memory."""
        self._is_told = is_told
        if not is_told:
            self._entries.clear()
            self._current.clear()
            self._size = 0

    def _use(self, entry: Entry | None) -> Value | None:
        if entry is None:
            return None
        self._entries.move_to_end(entry[2])
        return entry[0]

    def _forget(self, name: tuple[str, Hashable]) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self._size -= entry[1]
        if parts := self._current.get(name[0]):
            parts.pop(name[1], None)
            if not parts:
                del self._current[name[0]]
