"""The look at one scope of one report: one HMGET, so that body, path and times are of the same instant.

Only the variant that the client takes is asked for. A document too small to be compressed has none, and is asked
for once more as it is; `_plain` remembers which, so that it happens once per content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from producers.wire import Waiting, pack
from reader.connection import Connection, StoreUnavailable as StoreUnavailable
from reader.copy import Copy
from reader.memo import Latest, memo
from reader.snapshot import Snapshot, decode, fields_of

_PLAIN_BYTES = 32 << 20
"""Of the notes which documents have no compressed form."""
_PLAIN_OVERHEAD = 200
"""Bytes of a note's objects beside their texts."""
_WANTED_MS = 30_000
"""How long a wish stands when nobody hears it."""


@dataclass(slots=True)
class Asked:
    """A look that is under way; for `Store.read`."""

    key: str
    scope: int
    encoding: str
    """The variant that was asked for."""
    generation: int

    @property
    def command(self) -> bytes:
        """The look itself, packed."""
        return _packed((self.key, self.scope, self.encoding))


class Store:
    """The reports of one tenant, read only.

    Args:
        copy: documents kept in this process, if any are.
    """

    def __init__(self, connection: Connection, *, tenant: str, copy: Copy | None = None) -> None:
        self._connection = connection
        self._tenant = tenant
        self._copy = copy
        self._plain = Latest[tuple[str, int], str](limit=_PLAIN_BYTES, weigh=_weigh_plain)

    def key(self, report: str, day: str = "") -> str:
        """Where a report is kept: as it is now, or as a day was closed."""
        if day:
            return f"momentus:{{reports}}:closed:{self._tenant}:{report}:{day}"
        return f"momentus:{{reports}}:snapshot:{self._tenant}:{report}"

    @property
    def proven(self) -> bool:
        """Whether what the copy calls current is so."""
        return self._copy is not None and self._connection.proven

    def current(self, key: str, scope: int, encoding: str) -> Snapshot | None:
        """The document out of the copy; current as far as the connection is proven."""
        if self._copy is None:
            return None
        found: Snapshot | None = self._copy.current(key, (scope, self._stored_as(key, scope, encoding)))
        return found

    def remembered(self, key: str, scope: int, encoding: str) -> Snapshot | None:
        """The document as it was last seen; for when Redis is away."""
        if self._copy is None:
            return None
        for stored_as in (self._stored_as(key, scope, encoding), ""):
            found: Snapshot | None = self._copy.remembered(key, (scope, stored_as))
            if found:
                return found
        return None

    def asking(self, key: str, scope: int, encoding: str = "") -> Asked:
        """How to ask for one scope; its reply is for `read`."""
        generation = self._copy.generation if self._copy else 0
        return Asked(key, scope, self._stored_as(key, scope, encoding), generation)

    def read(self, asked: Asked, values: Sequence[bytes | None]) -> Snapshot | None:
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
        if self._copy is not None and snapshot.body is not None:
            part = (asked.scope, asked.encoding)
            self._copy.keep(asked.key, part, snapshot, size=len(snapshot.body) + 600, asked_at=asked.generation)
        return snapshot

    def send(self, commands: bytes, waiting: Waiting, replies: int) -> bool:
        """Send a look's commands over the connection that there is: whether there is one."""
        return self._connection.send_packed(commands, waiting, replies)

    async def ask(self, key: str, scope: int, encoding: str = "") -> tuple[Asked, asyncio.Future[Any]]:
        """Send for one scope, for `snapshot`. Raises StoreUnavailable."""
        asked = self.asking(key, scope, encoding)
        return asked, await self._connection.send("HMGET", key, *fields_of(scope, asked.encoding))

    async def snapshot(self, asked: Asked, reply: asyncio.Future[Any]) -> Snapshot:
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

    def _note_without_variant(self, asked: Asked) -> None:
        self._plain.note((asked.key, asked.scope), "")

    def _note_plain(self, asked: Asked, etag: str) -> None:
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
