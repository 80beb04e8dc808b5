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
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from time import time_ns
from typing import Any

import orjson
from redis.exceptions import ResponseError

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


@dataclass(frozen=True, slots=True)
class Asked:
    """A session that was asked for; for `Guard.roots`."""

    place: Place
    glance: Glance | None
    replies: tuple[asyncio.Future[Any], ...]
    generation: int = 0


class Guard:
    """Knows who may see what, by the sessions in Redis.

    Args:
        copy: sessions kept in this process, if any are.
    """

    def __init__(self, connection: Connection, copy: Copy | None = None) -> None:
        self._connection = connection
        self._copy = copy
        self._glances: OrderedDict[str, tuple[Place, Glance]] = OrderedDict()

    def current(self, token: str) -> AbstractSet[int] | None:
        """The roots of a session that needs no asking, if the copy has it and it is provably current."""
        known = self._glances.get(token)
        if known is None or self._copy is None or not self._connection.proven:
            return None
        place, glance = known
        record = self._copy.current(place.session_key, "")
        epoch = self._copy.current(glance.epoch[1], "")
        if record is None or epoch is None:
            return None
        data = judge(record, epoch[0], _now_ms())
        return None if data is None else _roots(data)

    def remembered(self, token: str) -> AbstractSet[int] | None:
        """The roots of a session that was good a moment ago; for when Redis is away."""
        known = self._glances.get(token)
        if known is None or self._copy is None or self._connection.heard_s > MEMORY_S:
            return None
        place, glance = known
        record = self._copy.remembered(place.session_key, "")
        epoch = self._copy.remembered(glance.epoch[1], "")
        if record is None or epoch is None:
            return None
        data = judge(record, epoch[0], int(record[1] or 0))
        return None if data is None else _roots(data)

    async def ask(self, token: str) -> Asked | None:
        """Send for a session; None for a text that is no token.

        Raises:
            StoreUnavailable: there is no connection.
        """
        send = self._connection.send
        if known := self._glances.get(token):
            place, glance = known
            generation = self._copy.generation if self._copy else 0
            return Asked(place, glance, (await send(*glance.record), await send(*glance.epoch)), generation)
        found = place_of(token)
        return None if found is None else Asked(found, None, (await self._load(found),))

    async def roots(self, token: str, asked: Asked) -> AbstractSet[int] | None:
        """The roots of the session, None when it has ended.

        Raises:
            StoreUnavailable, SessionsUnavailable: Redis did not say, or not in the sessions' format.
        """
        if asked.glance is not None:
            record, epoch = [await self._connection.reply(one) for one in asked.replies]
            data = judge(record, epoch, _now_ms())
            if data is not None:
                self._keep(asked, asked.glance, record, epoch)
                return _roots(data)
            return await self._loaded(token, asked.place, await self._load(asked.place))
        return await self._loaded(token, asked.place, asked.replies[0])

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
            self._glances[token] = (place, Glance.at(place, session.user))
        if len(self._glances) > _KNOWN:
            self._glances.popitem(last=False)
        return roots_of(session.data)

    def _keep(self, asked: Asked, glance: Glance, record: list[bytes | None], epoch: bytes | None) -> None:
        if self._copy is None:
            return
        size = sum(len(value) for value in record if value)
        self._copy.keep(asked.place.session_key, "", record, size=size, asked_at=asked.generation)
        self._copy.keep(glance.epoch[1], "", [epoch], size=8, asked_at=asked.generation)


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
