"""Digests: items that are sent under one key within a window become one job. No I/O.

A :class:`DigestItem` is one item on its way in. It asks to open a digest; when the script answers that one waits
already, it composes the mail of all items and asks to put that in its place, and so on until nothing has come
between. So what waits in Redis is at any moment a whole job, composed by a producer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

import orjson

from .compose import Composer, keyed
from .entry import ConflictingKey, JobEntry
from .keys import LaneKeys
from .link import Argument
from .message import Message
from .operation import Operation
from .receipt import Receipt
from .send_options import SendOptions, milliseconds

MOST_ITEMS = 100
MOST_OCTETS = 64 * 1024
"""What one digest holds; the item after that opens the next. Octets of the items as they wait."""


class Collapsible(Protocol):
    """An item for a digest; ``jobs.Digest`` is one."""

    @property
    def kind(self) -> str:
        """The kind of the job that it becomes."""

    @property
    def lane(self) -> str:
        """The lane of that job."""

    @property
    def window(self) -> timedelta:
        """How long after the first item the digest goes out."""

    def collapse_key(self) -> str:
        """Items with the same one share a digest."""

    def fingerprint(self) -> str:
        """What makes two requests the same item."""

    def item(self) -> Mapping[str, object]:
        """JSON-native values. Raises ValueError's kin when the item can be part of no message."""

    def gathered(self, items: Sequence[Mapping[str, object]]) -> Message:
        """The message that tells these items."""


@dataclass(frozen=True, slots=True)
class PendingDigest:
    """The digest that waits under a key; without an id there is none."""

    id: str = ""
    left_ms: int = 0
    count: int = 0
    items: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Addition:
    """What the script is asked to write, if what waits is still what was seen."""

    seen: PendingDigest
    entry: JobEntry
    count: int
    items: bytes = field(repr=False)


class DigestItem:
    """One item on its way into a digest.

    Args:
        composer: makes the job.
        key: names the item for seven days, as of any message.

    Raises:
        ValueError, PayloadTooLarge: the item's own refusal, or the key's.
    """

    def __init__(self, composer: Composer, digest: Collapsible, key: str | None) -> None:
        self.lane = digest.lane
        self.name = hashlib.sha256(digest.collapse_key().encode("utf-8", "surrogatepass")).hexdigest()
        self._composer = composer
        self._digest = digest
        self._item = digest.item()
        self._key = key

    def addition(self, seen: PendingDigest | None = None) -> Addition:
        """What to ask for, after having seen this."""
        seen = seen or PendingDigest()
        before = self._joined(seen)
        joins = before is not None
        items = [*(before or ()), self._item]
        delay = timedelta(milliseconds=seen.left_ms) if joins else self._digest.window
        message = self._digest.gathered(items)
        entry = self._composer.entry(message, terms=SendOptions(delay), job_id=seen.id if joins else "")
        return Addition(seen, keyed(entry, self._key, self._digest), len(items), self._closed(items, entry.id))

    def operation(self, seen: PendingDigest | None = None) -> Operation[Receipt | PendingDigest]:
        """Write the item after having seen this; how it ended, or what waits instead.

        Raises (by its reply):
            ConflictingKey: the key stands for another item.
        """
        addition = self.addition(seen)
        keys, seen, entry = LaneKeys(self.lane), addition.seen, addition.entry
        arguments: list[Argument] = [self.lane, keys.tag, seen.id, seen.count, entry.id, entry.payload]
        arguments += [milliseconds(self._digest.window), addition.count, addition.items]
        arguments += [entry.key, entry.fingerprint, entry.window_ms, entry.life_ms or ""]
        names = [keys.queue, keys.wake, keys.counters, keys.digest(self.name)]
        return Operation("collapse", names, arguments, self._read)

    def _read(self, reply: Any) -> Receipt | PendingDigest:  # noqa: ANN401  a reply is whatever the script returns
        state, job_id = reply[0].decode(), reply[1].decode()
        if state == "conflict":
            raise ConflictingKey(0, job_id)
        if state == "other":
            return PendingDigest(job_id, reply[2], reply[3], reply[4])
        return Receipt(job_id, self._digest.kind, self.lane, state)

    def _joined(self, seen: PendingDigest) -> list[Mapping[str, object]] | None:
        """The items of a digest that may be joined: it is there, has room, and no seal keeps it shut."""
        if not seen.id or seen.count >= MOST_ITEMS or len(seen.items) >= MOST_OCTETS:
            return None
        try:
            waiting = self._composer.opened(orjson.loads(seen.items), kind=self._digest.kind, job_id=seen.id)
        except ValueError:
            return None
        items: list[Mapping[str, object]] = waiting["items"]  # type: ignore[assignment]  # as written below
        return items

    def _closed(self, items: list[Mapping[str, object]], job_id: str) -> bytes:
        return orjson.dumps(self._composer.sealed({"items": items}, kind=self._digest.kind, job_id=job_id))
