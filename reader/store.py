"""The look at one scope of one report: one HMGET, so that body, path and times are of the same instant.

Only the variant that the client takes is asked for. A document too small to be compressed has none, and is asked
for once more as it is; `_plain` remembers which, so that it happens once per content.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from reader.connection import Connection, StoreUnavailable as StoreUnavailable
from reader.copy import Copy
from reader.snapshot import Snapshot, decode, fields_of

_PLAIN_LIMIT = 100_000
_WANTED_MS = 30_000
"""How long a wish stands when nobody hears it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A look that is under way; for `Store.snapshot`."""

    key: str
    scope: int
    encoding: str
    reply: asyncio.Future[Any]
    generation: int


class Store:
    """The reports of one tenant, read only.

    Args:
        copy: documents kept in this process, if any are.
    """

    def __init__(self, connection: Connection, *, tenant: str, copy: Copy | None = None) -> None:
        self._connection = connection
        self._tenant = tenant
        self._copy = copy
        self._plain: dict[tuple[str, int], str] = {}

    def key(self, report: str, day: str = "") -> str:
        """Where a report is kept: as it is now, or as a day was closed."""
        if day:
            return f"momentus:{{reports}}:closed:{self._tenant}:{report}:{day}"
        return f"momentus:{{reports}}:snapshot:{self._tenant}:{report}"

    def current(self, key: str, scope: int, encoding: str) -> Snapshot | None:
        """The document out of the copy, if it is provably current."""
        if self._copy is None or not self._connection.proven:
            return None
        stored_as = self._stored_as(key, scope, encoding)
        values = self._copy.current(key, (scope, stored_as))
        return None if values is None else decode(values, stored_as)

    def remembered(self, key: str, scope: int, encoding: str) -> Snapshot | None:
        """The document as it was last seen; for when Redis is away."""
        if self._copy is None:
            return None
        for stored_as in (self._stored_as(key, scope, encoding), ""):
            if values := self._copy.remembered(key, (scope, stored_as)):
                return decode(values, stored_as)
        return None

    async def ask(self, key: str, scope: int, encoding: str = "") -> Asked:
        """Send for one scope. Raises StoreUnavailable."""
        stored_as = self._stored_as(key, scope, encoding)
        generation = self._copy.generation if self._copy else 0
        reply = await self._connection.send("HMGET", key, *fields_of(scope, stored_as))
        return Asked(key, scope, stored_as, reply, generation)

    async def snapshot(self, asked: Asked) -> Snapshot:
        """All that is known of the scope, of one instant.

        Raises:
            StoreUnavailable: Redis did not say.
            SnapshotUnreadable: what is stored is not in the agreed format.
        """
        values = await self._connection.reply(asked.reply)
        if values[0] is None and asked.encoding and values[1] is not None and values[2] is None:
            asked = await self._again_plain(asked)
            values = await self._connection.reply(asked.reply)
        snapshot = decode(values, asked.encoding)
        if not asked.encoding and snapshot.head is not None:
            self._note_plain(asked, snapshot.head.etag)
        if self._copy is not None and snapshot.body is not None:
            part = (asked.scope, asked.encoding)
            self._copy.keep(asked.key, part, values, size=len(snapshot.body) + 600, asked_at=asked.generation)
        return snapshot

    async def declared(self, report: str) -> bool:
        """Whether somebody means to compute this report. Raises StoreUnavailable."""
        return bool(await self._connection.ask("HEXISTS", self._catalogue, report))

    async def catalogue(self) -> dict[str, bytes]:
        """Every declared report's entry. Raises StoreUnavailable."""
        values = await self._connection.ask("HGETALL", self._catalogue)
        pairs = values.items() if isinstance(values, dict) else zip(values[::2], values[1::2], strict=True)
        return {name.decode(): bytes(entry) for name, entry in pairs}

    async def want(self, report: str) -> None:
        """Say that somebody reads this report and finds it old. Nobody waits for it, and nobody needs to know.

        Raises:
            StoreUnavailable: there is no connection.
        """
        key = f"momentus:{{reports}}:wanted:{self._tenant}:{report}"
        said = await self._connection.send("SET", key, "1", "NX", "PX", _WANTED_MS)
        said.add_done_callback(_drop)

    async def ping(self) -> None:
        """Raises StoreUnavailable unless Redis answers in time."""
        await self._connection.ask("PING")

    @property
    def _catalogue(self) -> str:
        return f"momentus:{{reports}}:catalogue:{self._tenant}"

    def _stored_as(self, key: str, scope: int, encoding: str) -> str:
        return "" if (key, scope) in self._plain else encoding

    async def _again_plain(self, asked: Asked) -> Asked:
        if len(self._plain) >= _PLAIN_LIMIT:
            self._plain.clear()
        self._plain[asked.key, asked.scope] = ""
        return await self.ask(asked.key, asked.scope)

    def _note_plain(self, asked: Asked, etag: str) -> None:
        """Other content may be large enough for a variant: look for one again."""
        name = (asked.key, asked.scope)
        if name in self._plain:
            if self._plain[name] not in {"", etag}:
                del self._plain[name]
            else:
                self._plain[name] = etag


def _drop(said: asyncio.Future[Any]) -> None:
    """Look at what became of it, so that asyncio does not report a lost connection as unseen."""
    if not said.cancelled():
        said.exception()
