"""Reports in Redis: one HMGET reads one scope, so that body, path and times are from the same instant.

A closed day takes two: one for the day, and one for today's standing of its node, which decides who may read it.

Only the variant that suits the client is read. A document too small to be compressed has no variant and is read
once more uncompressed; `_plain` remembers these documents, so that it happens once per content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from producers.link.wire import ReplyWaiter, pack_command
from reader.access import in_order
from reader.cache import ReplyCache
from reader.clock import RedisClock
from reader.connection import Connection, StoreUnavailable as StoreUnavailable
from reader.encoding import STORED
from reader.memo import RecentNotes, memo
from reader.snapshot import (
    REPORT_FIELDS,
    SnapshotUnreadable,
    StoredScope,
    decode_meta,
    decode_snapshot,
    decode_standing,
    document_fields,
    fields_of,
    standing_fields,
)

_PLAIN_BYTES = 32 << 20
"""Limit of the notes about documents without a compressed variant."""
_OVERHEAD = 600
"""Bytes of a snapshot's objects besides its body."""
_PLAIN_OVERHEAD = 200
"""Bytes of a note's objects besides their texts."""
_STANDING = "standing"
"""Name of the cached part with a node's standing; all others are named after an encoding."""
_FORMS = ("", *STORED)
_WANTED_MS = 30_000
"""Time after which a request for a refresh expires."""


@dataclass(slots=True)
class PendingLookup:
    """Lookup under way, to be finished by `StoredReports.read_snapshot`."""

    key: str
    scope: str
    encoding: str
    """The variant to read."""
    generation: int

    @property
    def command(self) -> bytes:
        """Packed command of the lookup."""
        return _packed((self.key, self.scope, self.encoding))


class _Confirmation:
    """Receiver of the reply with a report's stamp."""

    __slots__ = ("_at", "_copy", "_done", "_key")

    def __init__(self, copy: ReplyCache, key: str) -> None:
        self._copy = copy
        self._key = key
        self._at = copy.change_count(key)
        self._done = False

    def done(self) -> bool:
        """Return True if no reply is awaited."""
        return self._done

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply has any type
        """Confirm the stamp, or forget the report if it is gone; ignore a malformed reply."""
        self._done = True
        try:
            if reply[0] is None:
                self._copy.forget_parts(self._key)
            else:
                self._copy.confirm_stamp(self._key, decode_meta(reply[0]).stamp, at=self._at)
        except (SnapshotUnreadable, TypeError, IndexError):
            pass  # an error or another format: the report stays in doubt

    def set_exception(self, _error: Exception, /) -> None:
        """Stop waiting: the report stays in doubt."""
        self._done = True


class StoredReports:
    """Reports of one tenant, read-only.

    Args:
        copy: cache of documents in this process, or None.
    """

    def __init__(self, connection: Connection, *, tenant: str, copy: ReplyCache | None = None) -> None:
        self._connection = connection
        self._tenant = tenant
        self._copy = copy
        if copy is not None:
            copy.doubt = self._confirm
        self._plain = RecentNotes[tuple[str, str], str](limit=_PLAIN_BYTES, weigh=_weigh_plain)

    def key(self, report: str, day: str = "") -> str:
        """Return the Redis key of a report: the current one, or that of a closed day."""
        if day:
            return f"momentus:{{reports}}:closed:{self._tenant}:{report}:{day}"
        return f"momentus:{{reports}}:snapshot:{self._tenant}:{report}"

    @property
    def clock(self) -> RedisClock:
        """Redis's clock."""
        return self._connection.clock

    @property
    def proven(self) -> bool:
        """True if cached entries that are current have been proved so."""
        return self._copy is not None and self._connection.proven

    def current_document(self, key: str, scope: str, encoding: str) -> StoredScope | None:
        """Return the cached document, or None; it is current if the connection is proven."""
        if self._copy is None:
            return None
        found: StoredScope | None = self._copy.current_entry(key, (scope, self._stored_as(key, scope, encoding)))
        return found

    def remembered_document(self, key: str, scope: str, encoding: str) -> StoredScope | None:
        """Return the document as it was last read, or None; for use while Redis is unreachable."""
        if self._copy is None:
            return None
        for stored_as in (self._stored_as(key, scope, encoding), ""):
            found: StoredScope | None = self._copy.remembered_entry(key, (scope, stored_as))
            if found:
                return found
        return None

    def lookup_of(self, key: str, scope: str, encoding: str = "") -> PendingLookup:
        """Return the lookup of one scope; `read_snapshot` takes its reply."""
        generation = self._copy.generation if self._copy else 0
        return PendingLookup(key, scope, self._stored_as(key, scope, encoding), generation)

    def read_snapshot(self, pending: PendingLookup, values: Sequence[bytes | None]) -> StoredScope | None:
        """Return the stored data of the scope as of one instant; None if the variant is absent: look up again.

        Raises:
            SnapshotUnreadable: the stored data is not in the agreed format.
        """
        if pending.encoding and values[0] is None and values[1] is not None and values[2] is None:
            self._note_without_variant(pending)
            return None
        snapshot = decode_snapshot(values, pending.encoding)
        if self._plain and not pending.encoding and snapshot.head is not None:
            self._note_plain(pending, snapshot.head.etag)
        if self._copy is not None:
            self._keep(self._copy, pending, snapshot)
        return snapshot

    def _keep(self, copy: ReplyCache, pending: PendingLookup, snapshot: StoredScope) -> None:
        """Cache the data, or forget all variants of a document that does not exist."""
        if snapshot.meta is None:
            copy.forget_parts(pending.key)
        elif snapshot.body is None or snapshot.gone_us is not None:
            copy.forget_parts(pending.key, *((pending.scope, form) for form in _FORMS))
        else:
            part, size = (pending.scope, pending.encoding), len(snapshot.body) + _OVERHEAD
            stamp, asked_at = snapshot.meta.stamp, pending.generation
            copy.keep_reply(pending.key, part, snapshot, size=size, asked_at=asked_at, stamp=stamp)

    def _confirm(self, key: str) -> None:
        """Read the stamp of a changed report again, which decides what may still be remembered of it."""
        if self._copy is not None:
            confirmation = _Confirmation(self._copy, key)
            self._connection.send_packed(pack_command(("HMGET", key, "_meta")), confirmation, 1)

    # Today's standing of a node

    def current_standing(self, report: str, scope: str) -> StoredScope | None:
        """Return the node's cached standing, or None; it is current if the connection is proven."""
        if self._copy is None:
            return None
        found: StoredScope | None = self._copy.current_entry(self.key(report), (scope, _STANDING))
        return found

    def remembered_standing(self, report: str, scope: str) -> StoredScope | None:
        """Return the node's standing as it was last read, or None; for use while Redis is unreachable."""
        if self._copy is None:
            return None
        found: StoredScope | None = self._copy.remembered_entry(self.key(report), (scope, _STANDING))
        return found

    async def send_standing_lookup(self, report: str, scope: str) -> tuple[PendingLookup, asyncio.Future[Any]]:
        """Send the command that reads a node's standing, for `standing`. Raises StoreUnavailable."""
        generation = self._copy.generation if self._copy else 0
        key = self.key(report)
        return PendingLookup(key, scope, _STANDING, generation), await self._connection.send_command(
            "HMGET", key, *standing_fields(scope)
        )

    async def standing(self, pending: PendingLookup, reply: asyncio.Future[Any]) -> StoredScope:
        """Return a node's standing: a snapshot without a body.

        Raises:
            StoreUnavailable: Redis did not reply.
            SnapshotUnreadable: the stored data is not in the agreed format.
        """
        found = decode_standing(await self._connection.wait_for_reply(reply))
        if self._copy is not None and found.meta is not None:
            part, stamp, asked_at = (pending.scope, _STANDING), found.meta.stamp, pending.generation
            self._copy.keep_reply(pending.key, part, found, size=_OVERHEAD, asked_at=asked_at, stamp=stamp)
        return found

    def send_packed(self, commands: bytes, waiting: ReplyWaiter, replies: int) -> bool:
        """Send packed commands over the open connection; return False if there is none."""
        return self._connection.send_packed(commands, waiting, replies)

    async def send_lookup(
        self, key: str, scope: str, encoding: str = ""
    ) -> tuple[PendingLookup, asyncio.Future[Any]]:
        """Send the command that reads one scope, for `fetch_snapshot`. Raises StoreUnavailable."""
        pending = self.lookup_of(key, scope, encoding)
        return pending, await self._connection.send_command("HMGET", key, *fields_of(scope, pending.encoding))

    async def fetch_snapshot(self, pending: PendingLookup, reply: asyncio.Future[Any]) -> StoredScope:
        """Return the stored data of the scope, from one instant.

        Raises:
            StoreUnavailable: Redis did not reply.
            SnapshotUnreadable: the stored data is not in the agreed format.
        """
        while True:
            snapshot = self.read_snapshot(pending, await self._connection.wait_for_reply(reply))
            if snapshot is not None:
                return snapshot
            pending, reply = await self.send_lookup(pending.key, pending.scope)

    async def read_several(self, report: str, scopes: Sequence[str]) -> list[StoredScope]:
        """Return the stored data of several scopes, from one instant, uncompressed and not from the cache.

        Raises:
            StoreUnavailable: Redis did not reply.
            SnapshotUnreadable: the stored data is not in the agreed format.
        """
        fields = [name for scope in scopes for name in document_fields(scope)]
        *parts, meta, failure = await self._connection.call("HMGET", self.key(report), *fields, *REPORT_FIELDS)
        each = range(0, len(parts), len(fields) // len(scopes))
        return [decode_snapshot((*parts[at : at + len(fields) // len(scopes)], meta, failure)) for at in each]

    async def closed_days(self, report: str, scope: str, days: Sequence[str]) -> dict[str, StoredScope]:
        """Return the documents of one scope of those days that are closed, by day, without their `meta`.

        Raises:
            StoreUnavailable: Redis did not reply.
            SnapshotUnreadable: the stored data is not in the agreed format.
        """
        fields = (f"{scope}", f"head:{scope}")
        replies = [await self._connection.send_command("HMGET", self.key(report, day), *fields) for day in days]
        values = [await self._connection.wait_for_reply(reply) for reply in replies]
        found = {day: decode_snapshot((*pair, None, None, None)) for day, pair in zip(days, values, strict=True)}
        return {day: one for day, one in found.items() if one.body is not None}

    async def is_declared(self, report: str) -> bool:
        """Return True if a worker declares this report. Raises StoreUnavailable."""
        return bool(await self._connection.call("HEXISTS", self._catalogue, report))

    async def read_catalogue(self) -> dict[str, bytes]:
        """Return the entries of all declared reports. Raises StoreUnavailable."""
        values = await self._connection.call("HGETALL", self._catalogue)
        pairs = values.items() if isinstance(values, dict) else zip(values[::2], values[1::2], strict=True)
        return {name.decode(errors="replace"): bytes(entry) for name, entry in pairs}

    async def read_roots(self, reports: Sequence[str]) -> list[str]:
        """Return the top nodes of these reports' trees, as far as they are computed.

        Raises:
            StoreUnavailable: Redis did not reply.
            SnapshotUnreadable: the stored data is not in the agreed format.
        """
        replies = [await self._connection.send_command("HGET", self.key(report), "_meta") for report in reports]
        stored = [await self._connection.wait_for_reply(reply) for reply in replies]
        return in_order({root for meta in stored if meta for root in decode_meta(meta).roots})

    def request_refresh(self, report: str) -> None:
        """Request a refresh of a report that a client finds too old, without waiting for a reply."""
        key = f"momentus:{{reports}}:wanted:{self._tenant}:{report}"
        self._connection.send_unawaited("reports that are wanted", ("SET", key, "1", "NX", "PX", _WANTED_MS))

    async def ping_redis(self) -> str:
        """Ping Redis and return why it reports no changes; empty if it does.

        Raises:
            StoreUnavailable: Redis did not reply in time.
        """
        await self._connection.call("PING")
        return self._connection.untracked

    @property
    def _catalogue(self) -> str:
        return f"momentus:{{reports}}:catalogue:{self._tenant}"

    def _stored_as(self, key: str, scope: str, encoding: str) -> str:
        return "" if encoding and (key, scope) in self._plain else encoding

    def _note_without_variant(self, pending: PendingLookup) -> None:
        self._plain.add_note((pending.key, pending.scope), "")

    def _note_plain(self, pending: PendingLookup, etag: str) -> None:
        """Drop the note if the content has changed: new content may be large enough for a variant."""
        name = (pending.key, pending.scope)
        if name in self._plain:
            if self._plain[name] not in {"", etag}:
                self._plain.drop_note(name)
            else:
                self._plain[name] = etag


def _weigh_plain(name: tuple[str, str], etag: str) -> int:
    return len(name[0]) + len(etag) + _PLAIN_OVERHEAD


@memo(4 << 20, lambda pending: len(pending[0]) + 100)
def _packed(pending: tuple[str, str, str]) -> bytes:
    key, scope, encoding = pending
    return pack_command(("HMGET", key, *fields_of(scope, encoding)))
