"""The look at one scope of one report: one HMGET, so that body, path and times are of the same instant.

A closed day takes two: one at the day, and one at how its node stands now, which decides who may read it.

Only the variant that the client takes is asked for. A document too small to be compressed has none, and is asked
for once more as it is; `_plain` remembers which, so that it happens once per content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from producers.link.wire import ReplyWaiter, pack
from reader.cache import ReplyCache
from reader.clock import RedisClock
from reader.connection import Connection, StoreUnavailable as StoreUnavailable
from reader.encoding import STORED
from reader.memo import RecentNotes, memo
from reader.snapshot import (
    SnapshotUnreadable,
    StoredScope,
    decode,
    decode_meta,
    decode_standing,
    fields_of,
    standing_fields,
)

_PLAIN_BYTES = 32 << 20
"""Of the notes which documents have no compressed form."""
_OVERHEAD = 600
"""Bytes of a snapshot's objects beside its body."""
_PLAIN_OVERHEAD = 200
"""Bytes of a note's objects beside their texts."""
_STANDING = "standing"
"""Names the part of a copy that tells how a node stands; all others are named for an encoding."""
_FORMS = ("", *STORED)
_WANTED_MS = 30_000
"""How long a wish stands when nobody hears it."""


@dataclass(slots=True)
class PendingLookup:
    """A look that is under way; for `StoredReports.read`."""

    key: str
    scope: int
    encoding: str
    """The variant that was asked for."""
    generation: int

    @property
    def command(self) -> bytes:
        """The look itself, packed."""
        return _packed((self.key, self.scope, self.encoding))


class _Confirmation:
    """Takes the reply to a look at a report's stamp."""

    __slots__ = ("_at", "_copy", "_done", "_key")

    def __init__(self, copy: ReplyCache, key: str) -> None:
        self._copy = copy
        self._key = key
        self._at = copy.changes(key)
        self._done = False

    def done(self) -> bool:
        """Whether nothing more is waited for."""
        return self._done

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply is whatever Redis says
        """The stamp, or that the report is no more; what cannot be read confirms nothing."""
        self._done = True
        try:
            if reply[0] is None:
                self._copy.forget(self._key)
            else:
                self._copy.confirm(self._key, decode_meta(reply[0]).stamp, at=self._at)
        except (SnapshotUnreadable, TypeError, IndexError):
            pass  # Redis refused, or another format: nothing is remembered

    def set_exception(self, _error: Exception, /) -> None:
        """There will be none: what was doubted stays so."""
        self._done = True


class StoredReports:
    """The reports of one tenant, read only.

    Args:
        copy: documents kept in this process, if any are.
    """

    def __init__(self, connection: Connection, *, tenant: str, copy: ReplyCache | None = None) -> None:
        self._connection = connection
        self._tenant = tenant
        self._copy = copy
        if copy is not None:
            copy.doubt = self._confirm
        self._plain = RecentNotes[tuple[str, int], str](limit=_PLAIN_BYTES, weigh=_weigh_plain)

    def key(self, report: str, day: str = "") -> str:
        """Where a report is kept: as it is now, or as a day was closed."""
        if day:
            return f"momentus:{{reports}}:closed:{self._tenant}:{report}:{day}"
        return f"momentus:{{reports}}:snapshot:{self._tenant}:{report}"

    @property
    def clock(self) -> RedisClock:
        """Redis's."""
        return self._connection.clock

    @property
    def proven(self) -> bool:
        """Whether what the copy calls current is so."""
        return self._copy is not None and self._connection.proven

    def current(self, key: str, scope: int, encoding: str) -> StoredScope | None:
        """The document out of the copy; current as far as the connection is proven."""
        if self._copy is None:
            return None
        found: StoredScope | None = self._copy.current(key, (scope, self._stored_as(key, scope, encoding)))
        return found

    def remembered(self, key: str, scope: int, encoding: str) -> StoredScope | None:
        """The document as it was last seen; for when Redis is away."""
        if self._copy is None:
            return None
        for stored_as in (self._stored_as(key, scope, encoding), ""):
            found: StoredScope | None = self._copy.remembered(key, (scope, stored_as))
            if found:
                return found
        return None

    def asking(self, key: str, scope: int, encoding: str = "") -> PendingLookup:
        """How to ask for one scope; its reply is for `read`."""
        generation = self._copy.generation if self._copy else 0
        return PendingLookup(key, scope, self._stored_as(key, scope, encoding), generation)

    def read(self, asked: PendingLookup, values: Sequence[bytes | None]) -> StoredScope | None:
        """All that is known of the scope, of one instant; None when there is no such variant: ask again.

        Raises:
            SnapshotUnreadable: what is stored is not in the agreed format.
        """
        if asked.encoding and values[0] is None and values[1] is not None and values[2] is None:
            self._note_without_variant(asked)
            return None
        snapshot = decode(values, asked.encoding)
        if self._plain and not asked.encoding and snapshot.head is not None:
            self._note_plain(asked, snapshot.head.etag)
        if self._copy is not None:
            self._keep(self._copy, asked, snapshot)
        return snapshot

    def _keep(self, copy: ReplyCache, asked: PendingLookup, snapshot: StoredScope) -> None:
        """Keep what was read; of what is not there, or no more, nothing is remembered in any form."""
        if snapshot.meta is None:
            copy.forget(asked.key)
        elif snapshot.body is None or snapshot.gone_us is not None:
            copy.forget(asked.key, *((asked.scope, form) for form in _FORMS))
        else:
            part, size = (asked.scope, asked.encoding), len(snapshot.body) + _OVERHEAD
            stamp, asked_at = snapshot.meta.stamp, asked.generation
            copy.keep(asked.key, part, snapshot, size=size, asked_at=asked_at, stamp=stamp)

    def _confirm(self, key: str) -> None:
        """Read a changed report's stamp again, so that it is known what may still be remembered of it."""
        if self._copy is not None:
            told = _Confirmation(self._copy, key)
            self._connection.send_packed(pack(("HMGET", key, "_meta")), told, 1)

    # How a node stands now

    def current_standing(self, report: str, scope: int) -> StoredScope | None:
        """How the node stands, out of the copy; current as far as the connection is proven."""
        if self._copy is None:
            return None
        found: StoredScope | None = self._copy.current(self.key(report), (scope, _STANDING))
        return found

    def remembered_standing(self, report: str, scope: int) -> StoredScope | None:
        """How the node stood when that was last seen; for when Redis is away."""
        if self._copy is None:
            return None
        found: StoredScope | None = self._copy.remembered(self.key(report), (scope, _STANDING))
        return found

    async def ask_standing(self, report: str, scope: int) -> tuple[PendingLookup, asyncio.Future[Any]]:
        """Send for how a node stands, for `standing`. Raises StoreUnavailable."""
        generation = self._copy.generation if self._copy else 0
        key = self.key(report)
        return PendingLookup(key, scope, _STANDING, generation), await self._connection.send(
            "HMGET", key, *standing_fields(scope)
        )

    async def standing(self, asked: PendingLookup, reply: asyncio.Future[Any]) -> StoredScope:
        """How a node stands: a snapshot without body.

        Raises:
            StoreUnavailable: Redis did not say.
            SnapshotUnreadable: what is stored is not in the agreed format.
        """
        found = decode_standing(await self._connection.reply(reply))
        if self._copy is not None and found.meta is not None:
            part, stamp, asked_at = (asked.scope, _STANDING), found.meta.stamp, asked.generation
            self._copy.keep(asked.key, part, found, size=_OVERHEAD, asked_at=asked_at, stamp=stamp)
        return found

    def send(self, commands: bytes, waiting: ReplyWaiter, replies: int) -> bool:
        """Send a look's commands over the connection that there is: whether there is one."""
        return self._connection.send_packed(commands, waiting, replies)

    async def ask(self, key: str, scope: int, encoding: str = "") -> tuple[PendingLookup, asyncio.Future[Any]]:
        """Send for one scope, for `snapshot`. Raises StoreUnavailable."""
        asked = self.asking(key, scope, encoding)
        return asked, await self._connection.send("HMGET", key, *fields_of(scope, asked.encoding))

    async def snapshot(self, asked: PendingLookup, reply: asyncio.Future[Any]) -> StoredScope:
        """All that is known of the scope, of one instant.

        Raises:
            StoreUnavailable: Redis did not say.
            SnapshotUnreadable: what is stored is not in the agreed format.
        """
        while True:
            snapshot = self.read(asked, await self._connection.reply(reply))
            if snapshot is not None:
                return snapshot
            asked, reply = await self.ask(asked.key, asked.scope)

    async def declared(self, report: str) -> bool:
        """Whether somebody means to compute this report. Raises StoreUnavailable."""
        return bool(await self._connection.ask("HEXISTS", self._catalogue, report))

    async def catalogue(self) -> dict[str, bytes]:
        """Every declared report's entry. Raises StoreUnavailable."""
        values = await self._connection.ask("HGETALL", self._catalogue)
        pairs = values.items() if isinstance(values, dict) else zip(values[::2], values[1::2], strict=True)
        return {name.decode(errors="replace"): bytes(entry) for name, entry in pairs}

    def want(self, report: str) -> None:
        """Say that somebody reads this report and finds it old. Nobody waits for it, and nobody needs to know."""
        key = f"momentus:{{reports}}:wanted:{self._tenant}:{report}"
        self._connection.tell("reports that are wanted", ("SET", key, "1", "NX", "PX", _WANTED_MS))

    async def ping(self) -> str:
        """Why no copy is kept although one is wanted; empty when all is well.

        Raises:
            StoreUnavailable: Redis did not answer in time.
        """
        await self._connection.ask("PING")
        return self._connection.untracked

    @property
    def _catalogue(self) -> str:
        return f"momentus:{{reports}}:catalogue:{self._tenant}"

    def _stored_as(self, key: str, scope: int, encoding: str) -> str:
        return "" if encoding and (key, scope) in self._plain else encoding

    def _note_without_variant(self, asked: PendingLookup) -> None:
        self._plain.note((asked.key, asked.scope), "")

    def _note_plain(self, asked: PendingLookup, etag: str) -> None:
        """Other content may be large enough for a variant: look for one again."""
        name = (asked.key, asked.scope)
        if name in self._plain:
            if self._plain[name] not in {"", etag}:
                self._plain.drop(name)
            else:
                self._plain[name] = etag


def _weigh_plain(name: tuple[str, int], etag: str) -> int:
    return len(name[0]) + len(etag) + _PLAIN_OVERHEAD


@memo(4 << 20, lambda asked: len(asked[0]) + 100)
def _packed(asked: tuple[str, int, str]) -> bytes:
    key, scope, encoding = asked
    return pack(("HMGET", key, *fields_of(scope, encoding)))
