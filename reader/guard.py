"""What the asker may see: the roots of the session behind a token.

Sessions are looked at by plain reads (`sessions.quick_load`), because a reader's user may write none: a token that
is met for the first time takes two round trips; from then on the look leaves in one write with that at the report.
The only write is that of a use, once a minute: a longer time to live.

Where a copy is kept, a session in it is believed while it is provably current, and `MEMORY_S` longer when Redis
is away: a log-out made in that minute, which nobody could have told us of, takes effect when it is over. Of a
session that Redis has told to have changed, nothing is remembered: it may have ended, or may see less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from time import time_ns
from typing import Any

import orjson

from producers.link.wire import pack
from reader.access import roots_of
from reader.cache import ReplyCache
from reader.connection import Connection
from reader.memo import RecentNotes, memo
from sessions.errors import SessionsUnavailable
from sessions.quick_load import QuickLoad, Record, first_look, is_due, is_over, living, read
from sessions.token import SessionPlace, place_of

MEMORY_S = 60.0
"""How long after its last proof a remembered session opens remembered reports."""
_KNOWN_BYTES = 64 << 20
"""Of the tokens whose user is remembered: about 50,000 of them."""
_KNOWN_OVERHEAD = 600
"""Bytes of a known token's objects beside their texts."""


@dataclass(slots=True)
class KnownToken:
    """A token that was met before: where its session lies, and how to look at it.

    Attributes:
        commands: the look itself, packed: two replies.
        slid_ms: when this process last told of a use.
    """

    place: SessionPlace
    glance: QuickLoad
    commands: bytes = field(repr=False)
    slid_ms: int = 0


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """A session that was asked for; for `Guard.roots`."""

    place: SessionPlace
    known: KnownToken | None
    replies: tuple[asyncio.Future[Any], ...] = field(repr=False)
    generation: int = 0


class Guard:
    """Knows who may see what, by the sessions in Redis.

    Args:
        copy: sessions kept in this process, if any are.
    """

    def __init__(self, connection: Connection, copy: ReplyCache | None = None) -> None:
        self._connection = connection
        self._copy = copy
        self._glances = RecentNotes[str, KnownToken](limit=_KNOWN_BYTES, weigh=weigh_known)

    def current(self, token: str) -> AbstractSet[int] | None:
        """The roots of a session that needs no asking, as far as the connection is proven."""
        known = self._glances.get(token)
        if known is None or self._copy is None:
            return None
        record = self._copy.current(known.place.session_key, "")
        epoch = self._copy.current(known.glance.epoch[1], "")
        if record is None or epoch is None:
            return None
        data = living(record, epoch[0])
        return None if data is None or is_due(record, known.slid_ms, now_ms()) else read_roots(data)

    def remembered(self, token: str) -> AbstractSet[int] | None:
        """The roots of a session that was good a moment ago; for when Redis is away."""
        known = self._glances.get(token)
        if known is None or self._copy is None or self._connection.heard_s > MEMORY_S:
            return None
        record = self._copy.remembered(known.place.session_key, "")
        epoch = self._copy.remembered(known.glance.epoch[1], "")
        if record is None or epoch is None or is_over(record, now_ms()):
            return None
        data = living(record, epoch[0])
        return None if data is None else read_roots(data)

    def known(self, token: str) -> KnownToken | None:
        """How to look at a session, with `read` for the replies; None when that does not do."""
        return self._glances.get(token)

    @property
    def generation(self) -> int:
        """The copy's; to be noted before a look."""
        return self._copy.generation if self._copy else 0

    def read(
        self,
        known: KnownToken,
        record: list[bytes | None],
        epoch: bytes | None,
        asked_at: int,
        *,
        counts: bool = True,
    ) -> AbstractSet[int] | None:
        """The roots of a session that was looked at; None when it is not there: see what became of it.

        Args:
            counts: whether that is a use of the session, which slides its idle limit.

        Raises:
            SessionsUnavailable: what is stored is not in the sessions' format.
        """
        data = living(record, epoch)
        if data is None:
            self._forget(known)
            return None
        if counts:
            self._use(known, record)
        if self._copy is not None:
            size = sum(len(value) for value in record if value)
            self._copy.keep(known.place.session_key, "", record, size=size, asked_at=asked_at)
            self._copy.keep(known.glance.epoch[1], "", [epoch], size=8, asked_at=asked_at)
        return read_roots(data)

    async def ask(self, token: str) -> SessionQuery | None:
        """Send for a session; None for a text that is no token.

        Raises:
            StoreUnavailable: there is no connection.
        """
        send = self._connection.send
        if known := self._glances.get(token):
            generation = self.generation
            replies = await send(*known.glance.record), await send(*known.glance.epoch)
            return SessionQuery(known.place, known, replies, generation)
        found = place_of(token)
        return None if found is None else SessionQuery(found, None, (await send(*first_look(found)),))

    async def roots(self, token: str, asked: SessionQuery, *, counts: bool = True) -> AbstractSet[int] | None:
        """The roots of the session, None when it has ended.

        Args:
            counts: as in `read`.

        Raises:
            StoreUnavailable, SessionsUnavailable: Redis did not say, or not in the sessions' format.
        """
        ask, replies = self._connection.ask, [await self._connection.reply(one) for one in asked.replies]
        if asked.known is None:
            return await self._found(token, asked.place, replies[0], counts)
        roots = self.read(asked.known, replies[0], replies[1], asked.generation, counts=counts)
        if roots is not None:
            return roots
        return await self._found(token, asked.place, await ask(*first_look(asked.place)), counts)

    async def _found(
        self,
        token: str,
        place: SessionPlace,
        reply: Record,
        counts: bool,  # noqa: FBT001  passed on
    ) -> AbstractSet[int] | None:
        """See what there is behind a token, and note how to look at it from now on."""
        found = await read(self._connection.ask, place, reply)
        if found is None:
            self._glances.drop(token)
            return None
        glance = QuickLoad.at(found.place, found.user)
        known = KnownToken(found.place, glance, pack(glance.record) + pack(glance.epoch))
        if found.place == place:  # else it has a new token, and this one goes on for a moment only
            self._glances.note(token, known)
        if counts:
            self._use(known, found.record)
        return read_roots(found.record[-1] or b"")

    def _forget(self, known: KnownToken) -> None:
        """Remember nothing of a session that has ended."""
        if self._copy is not None:
            self._copy.forget(known.place.session_key)
            self._copy.forget(known.glance.epoch[1])

    def _use(self, known: KnownToken, record: Record) -> None:
        """Count a use of the session, if that is due; nobody waits for it."""
        now = now_ms()
        if is_due(record, known.slid_ms, now):
            known.slid_ms = now
            self._connection.tell("a use of a session", *known.glance.slide(record))


def weigh_known(token: str, known: KnownToken) -> int:
    """Bytes of a known token: its texts stand in it as they are and packed."""
    return len(token) + 2 * len(known.commands) + _KNOWN_OVERHEAD


@memo(8 << 20)
def read_roots(data: bytes) -> AbstractSet[int]:
    """The roots in a session's data. Raises SessionsUnavailable for what is not the sessions' format."""
    try:
        content = orjson.loads(data)
    except ValueError as error:
        raise SessionsUnavailable(f"a session's data is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SessionsUnavailable("a session's data is not a JSON object")
    return roots_of(content)


def now_ms() -> int:
    """This machine's clock."""
    return time_ns() // 1_000_000
