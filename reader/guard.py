"""Sessions in Redis: the roots of the session of a token.

The guard only reads sessions (`sessions.quick_load`), because the reader's Redis user may not write them. A new
token takes two round trips; after that its lookup leaves in one write with the lookup of the report. The only
write notes a use, once a minute: it extends the time to live.

With a cache, a cached session is used while it is provably current, and `MEMORY_S` longer while Redis is
unreachable: a log-out in that minute, of which the reader cannot know, takes effect at its end. A session that
Redis reported as changed is not remembered: it may have ended, or may have fewer rights.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from time import time_ns
from typing import Any

import orjson

from producers.link.wire import pack_command
from reader.access import roots_of
from reader.cache import ReplyCache
from reader.connection import Connection
from reader.memo import RecentNotes, memo
from sessions.errors import SessionsUnavailable
from sessions.quick_load import QuickLoad, Record, first_look, is_due, is_over, live_data, load_by_reads
from sessions.token import SessionPlace, place_of

MEMORY_S = 60.0
"""Time after its last proof in which a remembered session may read remembered reports."""
_KNOWN_BYTES = 64 << 20
"""Limit of known tokens: about 50,000 of them."""
_KNOWN_OVERHEAD = 600
"""Bytes of a known token's objects besides its texts."""


@dataclass(slots=True)
class KnownToken:
    """A token that was used before: the keys of its session and the commands that read it.

    Attributes:
        commands: the packed commands; they have two replies.
        slid_ms: instant at which this process last noted a use in Redis.
    """

    place: SessionPlace
    glance: QuickLoad
    commands: bytes = field(repr=False)
    slid_ms: int = 0


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Commands under way for a session, to be finished by `Guard.roots`."""

    place: SessionPlace
    known: KnownToken | None
    replies: tuple[asyncio.Future[Any], ...] = field(repr=False)
    generation: int = 0


class Guard:
    """Reader of sessions in Redis.

    Args:
        copy: cache of sessions in this process, or None.
    """

    def __init__(self, connection: Connection, copy: ReplyCache | None = None) -> None:
        self._connection = connection
        self._copy = copy
        self._glances = RecentNotes[str, KnownToken](limit=_KNOWN_BYTES, weigh=weigh_known)

    def current_roots(self, token: str) -> AbstractSet[str] | None:
        """Return the roots of a cached session, or None; they are current if the connection is proven."""
        known = self._glances.get(token)
        if known is None or self._copy is None:
            return None
        record = self._copy.current_entry(known.place.session_key, "")
        epoch = self._copy.current_entry(known.glance.epoch[1], "")
        if record is None or epoch is None:
            return None
        data = live_data(record, epoch[0])
        return None if data is None or is_due(record, known.slid_ms, now_ms()) else read_roots(data)

    def remembered_roots(self, token: str) -> AbstractSet[str] | None:
        """Return the roots of a session as last read, or None; for use while Redis is unreachable."""
        known = self._glances.get(token)
        if known is None or self._copy is None or self._connection.heard_s > MEMORY_S:
            return None
        record = self._copy.remembered_entry(known.place.session_key, "")
        epoch = self._copy.remembered_entry(known.glance.epoch[1], "")
        if record is None or epoch is None or is_over(record, now_ms()):
            return None
        data = live_data(record, epoch[0])
        return None if data is None else read_roots(data)

    def known_token(self, token: str) -> KnownToken | None:
        """Return the token's commands, whose replies `read_roots` takes, or None if the token is not known."""
        return self._glances.get(token)

    @property
    def generation(self) -> int:
        """Generation of the cache; callers note it before a lookup."""
        return self._copy.generation if self._copy else 0

    def read_roots(
        self,
        known: KnownToken,
        record: list[bytes | None],
        epoch: bytes | None,
        asked_at: int,
        *,
        counts: bool = True,
    ) -> AbstractSet[str] | None:
        """Return the roots of a session from its replies, or None if it is not there; `roots` then finds out why.

        Args:
            asked_at: `generation` before the commands were sent.
            counts: True if this is a use of the session, which extends its idle limit.

        Raises:
            SessionsUnavailable: the stored record is not in the sessions' format.
        """
        data = live_data(record, epoch)
        if data is None:
            self._forget(known)
            return None
        if counts:
            self._use(known, record)
        if self._copy is not None:
            size = sum(len(value) for value in record if value)
            self._copy.keep_reply(known.place.session_key, "", record, size=size, asked_at=asked_at)
            self._copy.keep_reply(known.glance.epoch[1], "", [epoch], size=8, asked_at=asked_at)
        return read_roots(data)

    async def send_query(self, token: str) -> SessionQuery | None:
        """Send the commands that read a session; return None if the text is not a token.

        Raises:
            StoreUnavailable: Redis cannot be reached.
        """
        send = self._connection.send_command
        if known := self._glances.get(token):
            generation = self.generation
            replies = await send(*known.glance.record), await send(*known.glance.epoch)
            return SessionQuery(known.place, known, replies, generation)
        found = place_of(token)
        return None if found is None else SessionQuery(found, None, (await send(*first_look(found)),))

    async def roots(self, token: str, query: SessionQuery, *, counts: bool = True) -> AbstractSet[str] | None:
        """Return the roots of the session, or None if it has ended.

        Args:
            counts: as in `read_roots`.

        Raises:
            StoreUnavailable, SessionsUnavailable: Redis did not reply, or not in the sessions' format.
        """
        call, replies = (
            self._connection.call,
            [await self._connection.wait_for_reply(one) for one in query.replies],
        )
        if query.known is None:
            return await self._found(token, query.place, replies[0], counts)
        roots = self.read_roots(query.known, replies[0], replies[1], query.generation, counts=counts)
        if roots is not None:
            return roots
        return await self._found(token, query.place, await call(*first_look(query.place)), counts)

    async def _found(
        self,
        token: str,
        place: SessionPlace,
        reply: Record,
        counts: bool,  # noqa: FBT001  passed on
    ) -> AbstractSet[str] | None:
        """Return the roots of a token's session, and keep the commands that read it from now on."""
        found = await load_by_reads(self._connection.call, place, reply)
        if found is None:
            self._glances.drop_note(token)
            return None
        glance = QuickLoad.at_place(found.place, found.user)
        known = KnownToken(found.place, glance, pack_command(glance.record) + pack_command(glance.epoch))
        if found.place == place:  # a replaced token works only a moment longer
            self._glances.add_note(token, known)
        if counts:
            self._use(known, found.record)
        return read_roots(found.record[-1] or b"")

    def _forget(self, known: KnownToken) -> None:
        """Drop a session that has ended from the cache."""
        if self._copy is not None:
            self._copy.forget_parts(known.place.session_key)
            self._copy.forget_parts(known.glance.epoch[1])

    def _use(self, known: KnownToken, record: Record) -> None:
        """Note a use of the session in Redis if one is due, without waiting."""
        now = now_ms()
        if is_due(record, known.slid_ms, now):
            known.slid_ms = now
            self._connection.send_unawaited("a use of a session", *known.glance.extension(record))


def weigh_known(token: str, known: KnownToken) -> int:
    """Return the bytes of a known token, which holds its texts plain and packed."""
    return len(token) + 2 * len(known.commands) + _KNOWN_OVERHEAD


@memo(8 << 20)
def read_roots(data: bytes) -> AbstractSet[str]:
    """Return the roots in a session's data. Raises SessionsUnavailable if it is not in the sessions' format."""
    try:
        content = orjson.loads(data)
    except ValueError as error:
        raise SessionsUnavailable(f"data: the stored session is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise SessionsUnavailable("data: the stored session is not a JSON object")
    return roots_of(content)


def now_ms() -> int:
    """Return milliseconds since 1970 by this machine's clock."""
    return time_ns() // 1_000_000
