"""Digests: items sent with one collapse key within a window become one job. No I/O.

A :class:`DigestItem` first tries to open a digest. If the script replies that a digest is pending, the item
composes the message of all items and tries to replace the pending job, and repeats this until no other producer
changed the digest in between. So a digest in Redis is always a complete job, composed by a producer.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import orjson

from .compose import Composer, with_key
from .entry import ConflictingKey, JobEntry
from .keys import LaneKeys
from .link import Argument
from .message import Message
from .operation import Operation
from .receipt import Receipt
from .send_options import SendOptions, milliseconds

MOST_ITEMS = 100
MOST_BYTES = 64 * 1024
"""Capacity of one digest, in items and in bytes of the stored items; the item after that opens the next digest."""


class Collapsible(Protocol):
    """Item of a digest; ``jobs.Digest`` is one."""

    @property
    def kind(self) -> str:
        """The kind of the digest's job."""

    @property
    def lane(self) -> str:
        """The lane of the digest's job."""

    @property
    def window(self) -> timedelta:
        """The time from the first item until the digest's job may run."""

    def collapse_key(self) -> str:
        """Return the collapse key: items with the same key share a digest."""

    def fingerprint(self) -> str:
        """Return a text that is equal for equal items; compared when a key is used again."""

    def item(self) -> Mapping[str, object]:
        """Return the item as JSON-native values. Raises a ValueError if the item is invalid."""

    def gathered(self, items: Sequence[Mapping[str, object]]) -> Message:
        """Return the message made of these items."""


@dataclass(frozen=True, slots=True)
class PendingDigest:
    """The pending digest under a collapse key, or empty (no id) if there is none."""

    id: str = ""
    left_ms: int = 0
    count: int = 0
    items: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Addition:
    """Arguments of the script: it writes ``entry`` if the pending digest is still ``seen``."""

    seen: PendingDigest
    entry: JobEntry
    count: int
    items: bytes = field(repr=False)


class DigestItem:
    """Item to be added to a digest.

    Args:
        composer: composer of the job.
        key: identifies the item for seven days, as for any message.

    Raises:
        ValueError, PayloadTooLarge: the item or the key is invalid.
    """

    def __init__(self, composer: Composer, digest: Collapsible, key: str | None) -> None:
        self.lane = digest.lane
        self.name = hashlib.sha256(digest.collapse_key().encode("utf-8", "surrogatepass")).hexdigest()
        self._composer = composer
        self._digest = digest
        self._item = digest.item()
        self._key = key

    def addition(self, seen: PendingDigest | None = None) -> Addition:
        """Compose the script's arguments for a pending digest."""
        seen = seen or PendingDigest()
        before = self._joined(seen)
        joins = before is not None
        items = [*(before or ()), self._item]
        delay = timedelta(milliseconds=seen.left_ms) if joins else self._digest.window
        message = self._digest.gathered(items)
        entry = self._composer.entry(message, terms=SendOptions(delay), job_id=seen.id if joins else "")
        return Addition(seen, with_key(entry, self._key, self._digest), len(items), self._closed(items, entry.id))

    def operation(self, seen: PendingDigest | None = None) -> Operation[Receipt | PendingDigest]:
        """Add the item to the pending digest; the result is a receipt, or the digest that is pending instead.

        Raises (by its reply):
            ConflictingKey: the key is in use for another item.
        """
        addition = self.addition(seen)
        keys, seen, entry = LaneKeys(self.lane), addition.seen, addition.entry
        arguments: list[Argument] = [self.lane, keys.tag, seen.id, seen.count, entry.id, entry.payload]
        arguments += [milliseconds(self._digest.window), addition.count, addition.items]
        arguments += [entry.key, entry.fingerprint, entry.window_ms, entry.life_ms or "", secrets.token_hex(8)]
        names = [keys.queue, keys.wake, keys.counters, keys.digest(self.name)]
        return Operation("collapse", names, arguments, self._read)

    def _read(self, reply: Any) -> Receipt | PendingDigest:  # noqa: ANN401  a reply is what the script returns
        state, job_id = reply[0].decode(), reply[1].decode()
        if state == "conflict":
            raise ConflictingKey(0, job_id)
        if state == "other":
            return PendingDigest(job_id, reply[2], reply[3], reply[4])
        return Receipt(job_id, self._digest.kind, self.lane, state)

    def _joined(self, seen: PendingDigest) -> list[Mapping[str, object]] | None:
        """Return the items of a pending digest if this item may join: it has room, and its seal can be opened."""
        if not seen.id or seen.count >= MOST_ITEMS or len(seen.items) >= MOST_BYTES:
            return None
        try:
            waiting = self._composer.opened(orjson.loads(seen.items), kind=self._digest.kind, job_id=seen.id)
        except ValueError:
            return None
        items: list[Mapping[str, object]] = waiting["items"]  # type: ignore[assignment]  # as written below
        return items

    def _closed(self, items: list[Mapping[str, object]], job_id: str) -> bytes:
        return orjson.dumps(self._composer.sealed({"items": items}, kind=self._digest.kind, job_id=job_id))
