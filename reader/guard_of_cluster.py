"""What the asker may see, where sessions lie in many slots of a cluster, and so on more than one server.

The look at a session cannot leave with the look at the report then; the sessions' own client finds the server of
each. No copy is kept: whom to believe while which server is away is more than it is worth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet

from reader.access import roots_of
from reader.guard import Asked, Guard
from sessions import Session, Sessions
from sessions.token import place_of


class ClusterGuard(Guard):
    """Knows who may see what, by the sessions on a cluster."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def current(self, token: str) -> None:
        """Nothing is kept."""

    def remembered(self, token: str) -> None:
        """Nothing is kept."""

    def known(self, token: str) -> None:
        """The look at a session goes elsewhere than the look at a report."""

    async def ask(self, token: str) -> Asked | None:
        """Send for a session; None for a text that is no token."""
        place = place_of(token)
        if place is None:
            return None
        loading = asyncio.ensure_future(self._sessions.load(token))
        loading.add_done_callback(_look_at)
        return Asked(place, None, (loading,))

    async def roots(self, token: str, asked: Asked) -> AbstractSet[int] | None:
        """The roots of the session, None when it has ended.

        Raises:
            SessionsUnavailable: Redis did not say, or not in the sessions' format.
        """
        del token
        session = await asked.replies[0]
        return None if session is None else roots_of(session.data)


def _look_at(loaded: asyncio.Future[Session | None]) -> None:
    """Whoever still waits is told; a request that ended before is not to be reported as a fault."""
    if not loaded.cancelled():
        loaded.exception()
