"""Sessions in memory, in place of Redis: replies to the scripts of `operations` as Redis does.

The clock is the test's: it stands still until `travel`. Times are milliseconds since 1970, as in the scripts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ..store import script_source
from ..token import epoch_key

_MS = timedelta(milliseconds=1)
_EPOCH = datetime.fromtimestamp(0, UTC)
_LIST = 100


@dataclass(slots=True)
class _Record:
    """Stored session; `until` is the end of its key's time to live, `number` counts all that were created."""

    user: str = field(repr=False)
    epoch: int
    created: int
    ends: int
    idle: int
    touched: int
    label: str = field(repr=False)
    data: bytes = field(repr=False)
    until: int
    number: int
    version: int = 1

    def reply(self) -> list[str | bytes]:
        """Return the fields in the order of `record.FIELDS`."""
        numbers = (self.epoch, self.created, self.ends, self.idle, self.touched)
        return [str(self.version), self.user, *map(str, numbers), self.label, self.data]


@dataclass(frozen=True, slots=True)
class _Pointer:
    """Old token after a rotation: the digest of its successor, and the end of its grace."""

    digest: str
    until: int


class SessionMemory:
    """Sessions of any number of users. Thread-safe.

    Attributes:
        now: time of the clock, aware.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._lock = threading.RLock()
        self._scripts = {
            script_source(name): run
            for name, run in (
                ("create", self._create),
                ("load", self._load),
                ("save", self._save),
                ("rotate", self._rotate),
                ("list", self._list),
                ("revoke", self._revoke),
                ("revoke_user", self._revoke_user),
                ("restore_epoch", self._restore_epoch),
            )
        }
        self.clear()

    def clear(self) -> None:
        """Forget all sessions and epochs; the clock stays."""
        with self._lock:
            self._records: dict[str, _Record] = {}
            self._pointers: dict[str, _Pointer] = {}
            self._epochs: dict[str, int] = {}
            self._created = 0

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:  # noqa: ANN401  a script's reply
        """Return the reply of Redis to a script."""
        with self._lock:
            return self._scripts[script](keys, arguments)

    def users(self) -> list[str]:
        """Return the users with a live session, in the order of their first log-in."""
        with self._lock:
            return list(dict.fromkeys(one.user for one in self._records.values() if self._is_live(one)))

    def _create(self, keys: Sequence[str], arguments: Sequence[Any]) -> list[str | bytes]:
        digest, user, idle, absolute, label, data, cap, prefix, limit = arguments
        if limit and len(self._places(prefix, user)) >= limit:
            return ["full"]
        now = self._now()
        until = now + min(idle, absolute)
        made = _Record(user, self._epoch(user), now, now + absolute, idle, now, label, data, until, self._created)
        self._created += 1
        self._records[keys[0]] = made
        others = [one for one in self._places(prefix, user) if one != digest]
        for ended in others[: len(others) + 1 - cap] if cap else []:
            del self._records[f"{prefix}session:{ended}"]
        return made.reply()

    def _load(self, keys: Sequence[str], _: Sequence[Any]) -> list[str | bytes] | None:
        key, found = self._find(keys)
        if found is None:
            return None
        now = self._now()
        if now - found.touched > min(60_000, found.idle / 30):
            found.touched, found.until = now, min(now + found.idle, found.ends)
        return [*found.reply(), _digest(key)]

    def _save(self, keys: Sequence[str], arguments: Sequence[Any]) -> list[str | bytes]:
        version, data, *_ = arguments
        key, found = self._find(keys)
        if found is None:
            return ["gone"]
        if found.version != version:
            return ["conflict", *found.reply(), _digest(key)]
        found.version, found.data = version + 1, data
        return ["saved", *found.reply(), _digest(key)]

    def _rotate(self, keys: Sequence[str], arguments: Sequence[Any]) -> list[str | bytes]:
        _, digest, grace = arguments
        key, found = self._find(keys)
        if found is None:
            return ["gone"]
        if key != keys[0]:
            return ["already"]
        self._records[keys[2]] = self._records.pop(key)
        until = self._now() + min(grace, found.until - self._now())
        self._pointers[key] = _Pointer(digest, until)
        return ["rotated", *found.reply()]

    def _list(self, keys: Sequence[str], _: Sequence[Any]) -> list[str | bytes]:
        prefix, user = keys[1], keys[0].partition(":user:")[2]
        found = list(reversed(self._places(prefix, user)))[:_LIST]
        return [part for one in found for part in (one, *self._records[f"{prefix}session:{one}"].reply())]

    def _revoke(self, keys: Sequence[str], _: Sequence[Any]) -> int:
        key, found = self._find(keys)
        if found is None:
            return 0
        del self._records[key]
        return 1

    def _revoke_user(self, keys: Sequence[str], arguments: Sequence[Any]) -> int:
        self._epochs[keys[0]] = max(self._epochs.get(keys[0], 0) + 1, int(arguments[0]))
        return self._epochs[keys[0]]

    def _restore_epoch(self, keys: Sequence[str], arguments: Sequence[Any]) -> int:
        known = self._epochs.get(keys[0], 0)
        self._epochs[keys[0]] = max(known, int(arguments[0]))
        return int(known < int(arguments[0]))

    def _find(self, keys: Sequence[str]) -> tuple[str, _Record | None]:
        """Return the key and the live session of a token, which may be in its grace."""
        key, prefix = keys[0], keys[1]
        while key not in self._records:
            pointer = self._pointers.get(key)
            if pointer is None or self._now() >= pointer.until:
                return key, None
            key = f"{prefix}session:{pointer.digest}"
        found = self._records[key]
        return key, found if self._is_live(found) else None

    def _places(self, prefix: str, user: str) -> list[str]:
        """Return the digests of a user's live sessions, ordered by their end.

        Of two that end in one millisecond the earlier one comes first: here the clock stands still.
        """
        found = [
            (one.ends, one.number, _digest(key))
            for key, one in self._records.items()
            if one.user == user and key.startswith(prefix) and self._is_live(one)
        ]
        return [digest for *_, digest in sorted(found)]

    def _is_live(self, one: _Record) -> bool:
        return one.epoch == self._epoch(one.user) and self._now() < min(one.ends, one.until)

    def _epoch(self, user: str) -> int:
        return self._epochs.get(epoch_key(user), 0)

    def _now(self) -> int:
        return (self.now - _EPOCH) // _MS


def _digest(key: str) -> str:
    return key.rpartition(":")[2]
