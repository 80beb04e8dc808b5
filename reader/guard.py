"""What the asker may see: the roots of the session behind a token.

A token that is met for the first time is loaded by the sessions' script; from then on a look of two plain reads
does (`sessions.glance`), which leaves in one write with the look at the report.

Where a copy is kept, a session in it is believed while it is provably current, and `MEMORY` longer when Redis
is away: a log-out made in that minute, which nobody could have told us of, takes effect when it is over.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha1
from time import time_ns
from typing import Any

import orjson
from redis.exceptions import ResponseError

from producers.wire import pack
from reader.access import roots_of
from reader.connection import Connection, StoreUnavailable
from reader.copy import Copy
from sessions import calls
from sessions.errors import SessionsUnavailable
from sessions.glance import Glance, judge
from sessions.store import source
from sessions.token import Place, place_of

MEMORY_S = 60.0
"""How long after its last proof a remembered session opens remembered reports."""
_KNOWN = 100_000
"""Tokens whose user is remembered; about 60 MB when all are used."""
_LOAD = source("load")
_LOAD_SHA = sha1(_LOAD.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Known:
    """A token that was met before: where its session lies, and how to look at it."""

    place: Place
    glance: Glance
    commands: bytes = field(repr=False)
    """The look itself, packed: two replies."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A session that was asked for; for `Guard.roots`."""

    place: Place
    known: Known | None
    replies: tuple[asyncio.Future[Any], ...] = field(repr=False)
    generation: int = 0


class Guard:
    """Knows who may see what, by the sessions in Redis.

    Args:
        copy: sessions kept in this process, if any are.
    """

    def __init__(self, connection: Connection, copy: Copy | None = None) -> None:
        self._connection = connection
        self._copy = copy
        self._glances: OrderedDict[str, Known] = OrderedDict()

    def current(self, token: str) -> AbstractSet[int] | None:
        """The roots of a session that needs no asking, as far as the connection is proven."""
        known = self._glances.get(token)
        if known is None or self._copy is None:
            return None
        record = self._copy.current(known.place.session_key, "")
        epoch = self._copy.current(known.glance.epoch[1], "")
        if record is None or epoch is None:
            return None
        data = judge(record, epoch[0], _now_ms())
        return None if data is None else _roots(data)

    def remembered(self, token: str) -> AbstractSet[int] | None:
        """The roots of a session that was good a moment ago; for when Redis is away."""
        known = self._glances.get(token)
        if known is None or self._copy is None or self._connection.heard_s > MEMORY_S:
            return None
        record = self._copy.remembered(known.place.session_key, "")
        epoch = self._copy.remembered(known.glance.epoch[1], "")
        if record is None or epoch is None:
            return None
        data = judge(record, epoch[0], int(record[1] or 0))
        return None if data is None else _roots(data)

    def known(self, token: str) -> Known | None:
        """How to look at a session, with `read` for the replies; None when that does not do."""
        return self._glances.get(token)

    @property
    def generation(self) -> int:
        """The copy's; to be noted before a look."""
        return self._copy.generation if self._copy else 0

    def read(
        self, known: Known, record: list[bytes | None], epoch: bytes | None, asked_at: int
    ) -> AbstractSet[int] | None:
        """The roots of a session that was looked at; None when it must be loaded instead.

        Raises:
            SessionsUnavailable: what is stored is not in the sessions' format.
        """
        data = judge(record, epoch, _now_ms())
        if data is None:
            return None
        if self._copy is not None:
            size = sum(len(value) for value in record if value)
            self._copy.keep(known.place.session_key, "", record, size=size, asked_at=asked_at)
            self._copy.keep(known.glance.epoch[1], "", [epoch], size=8, asked_at=asked_at)
        return _roots(data)

    async def ask(self, token: str) -> Asked | None:
        """Send for a session; None for a text that is no token.

        Raises:
            StoreUnavailable: there is no connection.
        """
        send = self._connection.send
        if known := self._glances.get(token):
            generation = self.generation
            replies = await send(*known.glance.record), await send(*known.glance.epoch)
            return Asked(known.place, known, replies, generation)
        found = place_of(token)
        return None if found is None else Asked(found, None, (await self._load(found),))

    async def roots(self, token: str, asked: Asked) -> AbstractSet[int] | None:
        """The roots of the session, None when it has ended.

        Raises:
            StoreUnavailable, SessionsUnavailable: Redis did not say, or not in the sessions' format.
        """
        if asked.known is None:
            return await self._loaded(token, asked.place, asked.replies[0])
        record, epoch = [await self._connection.reply(one) for one in asked.replies]
        roots = self.read(asked.known, record, epoch, asked.generation)
        if roots is not None:
            return roots
        return await self._loaded(token, asked.place, await self._load(asked.place))

    async def _load(self, place: Place) -> asyncio.Future[Any]:
        return await self._connection.send("EVALSHA", _LOAD_SHA, 2, place.session_key, place.prefix, place.digest)

    async def _loaded(self, token: str, place: Place, sent: asyncio.Future[Any]) -> AbstractSet[int] | None:
        try:
            record = await self._connection.reply(sent)
        except StoreUnavailable:
            if not (sent.done() and not sent.cancelled() and _unknown_script(sent)):
                raise
            await self._connection.ask("SCRIPT", "LOAD", _LOAD)
            record = await self._connection.reply(await self._load(place))
        session = calls.load(place).read(record)
        if session is None:
            self._glances.pop(token, None)
            return None
        if session.place == place:  # else it has a new token, and this one goes on for a moment only
            glance = Glance.at(place, session.user)
            self._glances[token] = Known(place, glance, pack(glance.record) + pack(glance.epoch))
        if len(self._glances) > _KNOWN:
            self._glances.popitem(last=False)
        return roots_of(session.data)


def _unknown_script(sent: asyncio.Future[Any]) -> bool:
    if sent.exception() is not None:
        return False
    answer = sent.result()
    return isinstance(answer, ResponseError) and str(answer).startswith("NOSCRIPT")


@lru_cache(maxsize=4096)
def _roots(data: bytes) -> AbstractSet[int]:
    """The roots in a session's data. Raises SessionsUnavailable for what is not the sessions' format."""
    try:
        content = orjson.loads(data)
    except ValueError as error:
        raise SessionsUnavailable(f"a session's data is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise SessionsUnavailable("a session's data is not a JSON object")
    return roots_of(content)


def _now_ms() -> int:
    return time_ns() // 1_000_000
