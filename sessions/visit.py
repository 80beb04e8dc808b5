"""One request's session, as an application behind :mod:`.middleware` has it.

The cookie is `__Host-momentus`: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain (RFC 6265bis, 4.1.3.2), so that
no other host, and no script, can set or read it. It is written when the application logs in, out, or rotates.

A Redis that is away is SessionsUnavailable in the application; answer 503.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .errors import SessionRefused
from .operations import ABSOLUTE, IDLE, SERVICE_USER
from .session import Session
from .store import Sessions

COOKIE = "__Host-momentus"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Lax"


class Visit:
    """One request's session: loaded when first asked for, and what the cookie becomes.

    Attributes:
        token: as the browser sent it, or as it will be told; None when it has none.
        cookie: the Set-Cookie header of the response, if there is to be one.
        consulted: whether the response depends on the session, or on there being none.
        answered: whether the head of the response, which carries the cookie, has gone.
    """

    def __init__(self, sessions: Sessions, token: str | None) -> None:
        self._sessions = sessions
        self._session: Session | None = None
        self._loaded = token is None
        self.token = token
        self.cookie: str | None = None
        self.consulted = False
        self.answered = False

    @property
    def personal(self) -> bool:
        """Whether the response belongs to one user: it gives or takes a token, or may tell of their session."""
        if self.cookie is not None:
            return True
        return self.consulted and self.token is not None and not (self._loaded and self._session is None)

    async def load(self) -> Session | None:
        """The person's session, None without one; asks Redis once a request. Raises SessionsUnavailable.

        A machine's token opens reports, not an application that people use.
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
        """A new session under a new token; one that the browser had is ended (session fixation).

        Raises SessionRefused, also when the response has started; SessionsUnavailable.
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
        """New data. Raises as `Sessions.save`, and LookupError when there is no session."""
        session = await self.load()
        if session is None:
            raise LookupError("this request has no session: log in first")
        self._session = await self._sessions.save(session, data)
        return self._session

    async def rotate(self) -> None:
        """Give the session a new token.

        Raises SessionGone, SessionsUnavailable; LookupError without a session; SessionRefused when the response
        has started, so that the browser could not be told.
        """
        if self.token is None:
            raise LookupError("this request has no session: log in first")
        self._check_unanswered()
        self.consulted = True
        rotated = await self._sessions.rotate(self.token)
        if rotated is not None:
            self._become(*rotated)

    async def log_out(self) -> None:
        """End the session and take the cookie back. Raises SessionsUnavailable."""
        if self.token is not None:
            await self._sessions.revoke(self.token)
        self.token, self._session, self._loaded = None, None, True
        self.cookie = f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"

    def _check_unanswered(self) -> None:
        if self.answered:
            raise SessionRefused(
                "the response has started, so its head can carry no cookie: log in or rotate before it starts"
            )

    def _become(self, token: str, session: Session) -> None:
        self.token, self._session, self._loaded = token, session, True
        life = int((session.expires_at - session.created_at).total_seconds())
        self.cookie = f"{COOKIE}={token}; Max-Age={life}; {_ATTRIBUTES}"
