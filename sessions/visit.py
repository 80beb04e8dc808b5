"""Session of one request, for an application behind :mod:`.middleware`.

The cookie (:mod:`.cookie`) is set when the application logs a user in or out, or rotates.

When Redis is unavailable, calls raise SessionsUnavailable in the application; answer 503.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .cookie import SECURE, SessionCookie
from .errors import SessionRefused
from .operations import ABSOLUTE, IDLE, SERVICE_USER
from .session import Session
from .store import Sessions


class Visit:
    """Session of one request, loaded at first use, with the cookie of its response.

    Attributes:
        token: token that the browser sent or will get; None without one.
        cookie: value of the response's Set-Cookie header, or None.
        consulted: True if the response depends on the session, or on its absence.
        answered: True once the head of the response, which carries the cookie, was sent.
    """

    def __init__(self, sessions: Sessions, token: str | None, form: SessionCookie = SECURE) -> None:
        self._sessions = sessions
        self._form = form
        self._session: Session | None = None
        self._loaded = token is None
        self.token = token
        self.cookie: str | None = None
        self.consulted = False
        self.answered = False

    # Every call below stands in `sessions/sync_visit.py` too, without asyncio: `python -m tests.twins` writes it.

    @property
    def personal(self) -> bool:
        """True if the response belongs to one user: it sets a cookie, or may depend on a live session."""
        if self.cookie is not None:
            return True
        return self.consulted and self.token is not None and not (self._loaded and self._session is None)

    async def load(self) -> Session | None:
        """Return the user's session, or None. Sends at most one query per request. Raises SessionsUnavailable.

        A machine's token gives None: it opens reports, not the application.
        """
        self.consulted = True
        if not self._loaded and self.token is not None:
            found = await self._sessions.load(self.token)
            self._session = None if found is None or found.user == SERVICE_USER else found
            self._loaded = True
        return self._session

    async def log_in(
        self,
        user: str,
        data: Mapping[str, Any],
        *,
        label: str = "",
        idle: timedelta = IDLE,
        absolute: timedelta = ABSOLUTE,
        cap: int = 0,
    ) -> Session:
        """Create a session under a new token, and end the browser's old session (against session fixation).

        Arguments are those of `Sessions.create`. Raises SessionRefused, also if the response has started;
        SessionsUnavailable.
        """
        self._check_unanswered()
        token, session = await self._sessions.create(
            user, data, label=label, idle=idle, absolute=absolute, cap=cap
        )
        if self.token is not None:
            await self._sessions.revoke(self.token)
        self._become(token, session)
        return session

    async def save(self, data: Mapping[str, Any]) -> Session:
        """Replace the session's data. Raises the errors of `Sessions.save`, and LookupError without a session."""
        session = await self.load()
        if session is None:
            raise LookupError("session: this request has none; log in first")
        self._session = await self._sessions.save(session, data)
        return self._session

    async def rotate(self) -> None:
        """Replace the session's token.

        Raises SessionGone, SessionsUnavailable; LookupError without a session; SessionRefused if the response has
        started, because the browser could not get the new token.
        """
        if self.token is None:
            raise LookupError("session: this request has none; log in first")
        self._check_unanswered()
        self.consulted = True
        rotated = await self._sessions.rotate(self.token)
        if rotated is not None:
            self._become(*rotated)

    async def log_out(self) -> None:
        """End the session and delete the cookie. Raises SessionsUnavailable."""
        if self.token is not None:
            await self._sessions.revoke(self.token)
        self.token, self._session, self._loaded = None, None, True
        self.cookie = self._form.deleted()

    def _check_unanswered(self) -> None:
        if self.answered:
            raise SessionRefused(
                "cookie: the response has started and can no longer set it; log in or rotate before it starts"
            )

    def _become(self, token: str, session: Session) -> None:
        self.token, self._session, self._loaded = token, session, True
        life = int((session.expires_at - session.created_at).total_seconds())
        self.cookie = self._form.holding(token, life)
