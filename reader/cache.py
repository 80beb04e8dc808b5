"""Cache of Redis's replies in this process (client-side caching), with the rules for using an entry.

An entry is current while Redis has not reported a change of its key and the connection that would report it is
alive; then it replaces a command. After the connection is lost the entry is a memory: it may only be served with
its age, and within the report's own limits.

Redis reports a change on the same connection and after the replies that the change outdates, so no outdated reply
can arrive after the report. A reply that was under way when a change was reported is kept as a memory only.

A change may be a withdrawal, so it affects memories too:

    a session          is forgotten and must be read again
    a document         is in doubt until its key's stamp has been read again. It is remembered if it was kept
                       under the same stamp; the stamp changes when a node leaves the tree or moves in it

A new connection cannot report earlier changes, so it counts as a change of every key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

_OVERHEAD = 600
"""Bytes of an entry besides its value; about what Python needs for an entry with its own key."""

Value = Any
"""A reply, or an object made from it; it is never changed."""
Stamp = Hashable
_NEVER = -1


@dataclass(slots=True)
class CachedPart:
    """Entry of one part of a key.

    Attributes:
        at: number of changes of its key when it was read; `_NEVER` if it may have been outdated under way.
        stamp: stamp of its key when it was read; None if the next change makes the cache forget it.
    """

    value: Value = field(repr=False)
    size: int
    name: tuple[str, Hashable]
    at: int
    stamp: Stamp | None


@dataclass(slots=True)
class CachedKey:
    """Entries of one key.

    Attributes:
        is_lasting: True if entries may be remembered after a change.
        changes: number of changes reported since the first entry was kept.
        stamp: the stamp as it was last read; None if it was not read since the last change.
    """

    is_lasting: bool
    parts: dict[Hashable, CachedPart] = field(default_factory=dict)
    changes: int = 0
    stamp: Stamp | None = None


class ReplyCache:
    """Cache of the most recently used replies, limited by bytes.

    Args:
        limit: bytes of all entries together, including their overhead.

    Attributes:
        doubt: function called with a key whose stamp must be read again; then `confirm_stamp` or `forget_parts` is
            called.

    Example:
        >>> copy = ReplyCache(limit=10_000)
        >>> copy.keep_reply("key", "field", [b"value"], size=5, stamp=1)
        >>> copy.current_entry("key", "field")
        [b'value']
        >>> copy.note_change([b"key"])
        >>> copy.current_entry("key", "field"), copy.remembered_entry("key", "field")
        (None, None)
        >>> copy.confirm_stamp("key", 1, at=copy.change_count("key"))
        >>> copy.remembered_entry("key", "field")
        [b'value']
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[tuple[str, Hashable], CachedPart] = OrderedDict()
        self._keys: dict[str, CachedKey] = {}
        self._is_tracked = True
        self.doubt: Callable[[str], None] | None = None
        self.generation = 0
        """Grows with every reported change: a caller notes it before a command and passes it on with the reply."""

    def current_entry(self, key: str, part: Hashable) -> Value | None:
        """Return the entry if no change of its key was reported since."""
        kept = self._keys.get(key)
        entry = None if kept is None else kept.parts.get(part)
        if kept is None or entry is None or entry.at != kept.changes:
            return None
        self._entries.move_to_end(entry.name)
        return entry.value

    def remembered_entry(self, key: str, part: Hashable) -> Value | None:
        """Return the entry as it was last read, unless it may have been withdrawn since."""
        kept = self._keys.get(key)
        entry = None if kept is None else kept.parts.get(part)
        if kept is None or entry is None or entry.stamp != kept.stamp:
            return None
        return entry.value

    def keep_reply(
        self,
        key: str,
        part: Hashable,
        value: Value,
        *,
        size: int,
        asked_at: int | None = None,
        stamp: Stamp | None = None,
    ) -> None:
        """Keep a reply; as a memory only, if a change was reported since its command.

        Args:
            asked_at: `generation` before the command; None if nothing can have changed since.
            stamp: the reply is remembered after a change of its key if the stamp is still this one; None if it
                is not remembered.
        """
        if not self._is_tracked:
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

    def change_count(self, key: str) -> int:
        """Return the number of reported changes of a key; callers note it before they read the stamp."""
        kept = self._keys.get(key)
        return _NEVER if kept is None else kept.changes

    def confirm_stamp(self, key: str, stamp: Stamp, *, at: int) -> None:
        """Note a key's stamp after it was read again.

        Args:
            at: `change_count` before the read; if it has grown since, the stamp may be outdated and is ignored.
        """
        kept = self._keys.get(key)
        if kept is not None and kept.changes == at:
            kept.stamp = stamp

    def forget_parts(self, key: str, *parts: Hashable) -> None:
        """Forget these parts of a key, or all parts, because they have been withdrawn."""
        kept = self._keys.get(key)
        for part in parts or (() if kept is None else tuple(kept.parts)):
            self._forget((key, part))

    def note_change(self, keys: list[bytes] | None) -> None:
        """Note that these keys have changed; None means that any key may have changed."""
        self.generation += 1
        for key in list(self._keys) if keys is None else [key.decode(errors="replace") for key in keys]:
            kept = self._keys.get(key)
            if kept is None:
                continue
            kept.changes += 1
            if not kept.is_lasting:
                self.forget_parts(key)
                continue
            kept.stamp = None
            if keys is not None:  # a new connection is asked once it reports changes
                self._doubt(key)

    def set_tracking(self, is_tracked: bool, /) -> None:  # noqa: FBT001  the value itself
        """Note whether Redis reports changes. If it does not, the cache is emptied and keeps nothing."""
        self._is_tracked = is_tracked
        if not is_tracked:
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
