"""Sessions on a cluster: they lie in many slots, and so on more than one server.

So the lookup of a session cannot leave in one write with the lookup of the report; separate links find the
server of each session. Sessions are not cached: rules for each server that may be unreachable would cost more
than a cache gains.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set as AbstractSet
from datetime import timedelta

from redis.exceptions import RedisError, ResponseError

import background
from producers.link.command import tag_of
from producers.link.links import Links
from reader.guard import Guard, SessionQuery, now_ms, read_roots
from reader.memo import RecentNotes
from sessions.errors import SessionsUnavailable
from sessions.quick_load import LiveRecord, QuickLoad, first_look, is_due, load_by_reads
from sessions.token import SessionPlace, place_of

_SLID_BYTES = 16 << 20
"""Limit of the sessions whose last noted use is remembered."""

log = logging.getLogger(__name__)


class ClusterGuard(Guard):
    """Reader of sessions on a cluster.

    Raises:
        ValueError: url: not the address of a cluster.
    """

    def __init__(self, url: str, *, deadline: timedelta) -> None:
        self._links = Links(url)
        self._deadline = deadline.total_seconds()
        self._slid = RecentNotes[str, int](limit=_SLID_BYTES, weigh=lambda digest, _at: len(digest))
        self._sliding: set[asyncio.Task[None]] = set()

    def current_roots(self, token: str) -> None:
        """Return None: sessions are not cached."""

    def remembered_roots(self, token: str) -> None:
        """Return None: sessions are not cached."""

    def known_token(self, token: str) -> None:
        """Return None: the session is not on the connection of the reports."""

    async def send_query(self, token: str) -> SessionQuery | None:
        """Send the commands that read a session; return None if the text is not a token."""
        place = place_of(token)
        if place is None:
            return None
        loading = asyncio.ensure_future(self._load(place))
        loading.add_done_callback(_retrieve_error)
        return SessionQuery(place, None, (loading,))

    async def roots(self, token: str, query: SessionQuery, *, counts: bool = True) -> AbstractSet[str] | None:
        """Return the roots of the session, or None if it has ended.

        Args:
            counts: True if this is a use of the session, which extends its idle limit.

        Raises:
            SessionsUnavailable: Redis did not reply, or the stored session is malformed.
        """
        del token
        found: LiveRecord | None = await query.replies[0]
        if found is None:
            return None
        if counts:
            self._note_use(found)
        return read_roots(found.record[-1] or b"")

    async def close(self) -> None:
        """Close the connections."""
        await self._links.close()

    async def _load(self, place: SessionPlace) -> LiveRecord | None:
        tag = tag_of(place.session_key)
        send = self._links.of(tag).call
        try:
            async with self._links.within(self._deadline, tag):
                return await load_by_reads(send, place, await send(*first_look(place)))
        except (RedisError, OSError) as error:  # a timeout is an OSError
            raise SessionsUnavailable(f"Redis: cannot read sessions ({error})") from error

    def _note_use(self, found: LiveRecord) -> None:
        """Note a use of the session in Redis if one is due, without waiting."""
        now, digest = now_ms(), found.place.digest
        if not is_due(found.record, self._slid.get(digest, 0), now):
            return
        self._slid.add_note(digest, now)
        sliding = background.start_once("use of a session", self._slide(found))
        self._sliding.add(sliding)
        sliding.add_done_callback(self._sliding.discard)

    async def _slide(self, found: LiveRecord) -> None:
        tag = tag_of(found.place.session_key)
        commands = QuickLoad.at_place(found.place, found.user).extension(found.record)
        try:
            async with self._links.within(self._deadline, tag):
                for reply in await self._links.of(tag).call_many(commands):
                    if isinstance(reply, ResponseError):
                        raise reply
        except (RedisError, OSError) as error:
            log.warning("Redis refused to note a use of a session: %s", error)


def _retrieve_error(loaded: asyncio.Future[LiveRecord | None]) -> None:
    """Retrieve the error, so that asyncio does not log it if the request has ended before."""
    if not loaded.cancelled():
        loaded.exception()
