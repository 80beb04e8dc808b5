"""Replies of Redis kept in this process, and how far each may be believed.

A reply is current while Redis has not told of a change of its key and the connection that would tell lives; then
it may stand in for asking. When the connection is lost it is a memory: good enough for an answer that says how
old it is, for as long as the report's own limits allow, and for nothing else.

Redis tells of a change after the replies that it makes old, on the same connection, so that no reply can arrive
later than the word that it is outdated. What was on its way when a change came is kept as a memory only.

A change may be a withdrawal, so a memory does not simply outlive it:

    a session          is forgotten, and must be read again
    a document         is doubted until its key's stamp was read again, and remembered if it was kept under that
                       very stamp; the stamp is another one when a node left the tree or moved in it

A new connection knows of no change that came before it, and is taken for a change of everything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

_OVERHEAD = 600
"""Bytes that an entry costs beside its values; about what Python takes, with a key of its own."""

Value = Any
"""A reply, or what was made of it; nobody changes it."""
Stamp = Hashable
_NEVER = -1


@dataclass(slots=True)
class CachedPart:
    """What is kept of one part of a key.

    Attributes:
        at: the changes of its key when it was read; `_NEVER`: it may have been outdated on its way.
        stamp: of its key when it was read; None: it is forgotten with the next change.
    """

    value: Value = field(repr=False)
    size: int
    name: tuple[str, Hashable]
    at: int
    stamp: Stamp | None


@dataclass(slots=True)
class CachedKey:
    """All that is kept of one key.

    Attributes:
        is_lasting: whether some of it may be remembered when it has changed.
        changes: how many were told since the first of it was kept.
        stamp: as it was last read; None: not since the last change.
    """

    is_lasting: bool
    parts: dict[Hashable, CachedPart] = field(default_factory=dict)
    changes: int = 0
    stamp: Stamp | None = None


class ReplyCache:
    """The most recently used replies, up to a number of bytes.

    Args:
        octets: of all values together, with what keeping them costs.

    Attributes:
        doubt: called with a key whose stamp is to be read again, and `confirm` or `forget` called in return.

    Example:
        >>> copy = ReplyCache(octets=10_000)
        >>> copy.keep("key", "field", [b"value"], size=5, stamp=1)
        >>> copy.current("key", "field")
        [b'value']
        >>> copy.changed([b"key"])
        >>> copy.current("key", "field"), copy.remembered("key", "field")
        (None, None)
        >>> copy.confirm("key", 1, at=copy.changes("key"))
        >>> copy.remembered("key", "field")
        [b'value']
    """

    def __init__(self, *, octets: int) -> None:
        self._limit = octets
        self._size = 0
        self._entries: OrderedDict[tuple[str, Hashable], CachedPart] = OrderedDict()
        self._keys: dict[str, CachedKey] = {}
        self._is_told = True
        self.doubt: Callable[[str], None] | None = None
        self.generation = 0
        """Grows with every change told: whoever asks notes it, and hands it back with the reply."""

    def current(self, key: str, part: Hashable) -> Value | None:
        """What was read of the key, if nothing has changed there since."""
        kept = self._keys.get(key)
        entry = None if kept is None else kept.parts.get(part)
        if kept is None or entry is None or entry.at != kept.changes:
            return None
        self._entries.move_to_end(entry.name)
        return entry.value

    def remembered(self, key: str, part: Hashable) -> Value | None:
        """What was last read of the key, unless it may have been withdrawn since."""
        kept = self._keys.get(key)
        entry = None if kept is None else kept.parts.get(part)
        if kept is None or entry is None or entry.stamp != kept.stamp:
            return None
        return entry.value

    def keep(
        self,
        key: str,
        part: Hashable,
        value: Value,
        *,
        size: int,
        asked_at: int | None = None,
        stamp: Stamp | None = None,
    ) -> None:
        """Keep a reply; as a memory only, if something changed since it was asked for.

        Args:
            stamp: what shall be the same for the reply to be remembered once its key has changed; None: nothing.
        """
        if not self._is_told:
            return
        self._forget((key, part))
        is_current = asked_at is None or asked_at == self.generation
        if stamp is None and not is_current:
            return
        kept = self._keys.setdefault(key, CachedKey(stamp is not None))
        entry = CachedPart(value, size + _OVERHEAD, (key, part), kept.changes if is_current else _NEVER, stamp)
        self._entries[entry.name] = kept.parts[part] = entry
        self._size += entry.size
        if is_current:
            kept.stamp = stamp
        elif kept.stamp is None:
            self._doubt(key)
        while self._size > self._limit:
            self._forget(next(iter(self._entries)))

    def changes(self, key: str) -> int:
        """How many changes of a key were told; to be noted before its stamp is read."""
        kept = self._keys.get(key)
        return _NEVER if kept is None else kept.changes

    def confirm(self, key: str, stamp: Stamp, *, at: int) -> None:
        """Note a key's stamp as it was read again.

        Args:
            at: `changes` before that; if there were more since, the stamp may be outdated.
        """
        kept = self._keys.get(key)
        if kept is not None and kept.changes == at:
            kept.stamp = stamp

    def forget(self, key: str, *parts: Hashable) -> None:
        """Forget these parts of a key, or all of it: it has been withdrawn."""
        kept = self._keys.get(key)
        for part in parts or (() if kept is None else tuple(kept.parts)):
            self._forget((key, part))

    def changed(self, keys: list[bytes] | None) -> None:
        """These keys have changed; None: whatever is known may have."""
        self.generation += 1
        for key in list(self._keys) if keys is None else [key.decode(errors="replace") for key in keys]:
            kept = self._keys.get(key)
            if kept is None:
                continue
            kept.changes += 1
            if not kept.is_lasting:
                self.forget(key)
                continue
            kept.stamp = None
            if keys is not None:  # else on a new connection, which is asked once it tells of changes
                self._doubt(key)

    def told(self, is_told: bool, /) -> None:  # noqa: FBT001  the fact itself
        """Take note whether Redis tells of changes: where it does not, nothing is kept, not even as a memory."""
        self._is_told = is_told
        if not is_told:
            self._entries.clear()
            self._keys.clear()
            self._size = 0
        for key in [key for key, kept in self._keys.items() if kept.is_lasting and kept.stamp is None]:
            self._doubt(key)

    def _doubt(self, key: str) -> None:
        if self.doubt is not None:
            self.doubt(key)

    def _forget(self, name: tuple[str, Hashable]) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        self._size -= entry.size
        key, part = name
        kept = self._keys[key]
        del kept.parts[part]
        if not kept.parts:
            del self._keys[key]
