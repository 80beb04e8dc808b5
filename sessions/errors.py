"""Errors of sessions.

`SessionRefused` is the caller's mistake. `SessionConflict` and `SessionGone` report the session's state.
`SessionsUnavailable` is about Redis: answer the request with 503, because treating the user as anonymous, or as
logged in, would be a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


class SessionError(Exception):
    """Base class of session errors; never raised itself."""


class SessionRefused(SessionError, ValueError):
    """An argument is invalid, or a limit on sessions is reached; nothing was written."""


class SessionConflict(SessionError):
    """Another request saved this session since it was loaded; nothing was written.

    `current` is the session as stored now: apply the change to `current.data` and save `current` again.
    """

    def __init__(self, current: Session) -> None:
        super().__init__(
            f"session: another request saved it (now at version {current.version}); "
            "apply the change to .current.data and save again"
        )
        self.current = current


class SessionGone(SessionError):
    """The session was logged out, revoked or has expired; nothing was written. The user must log in again."""


class SessionsUnavailable(SessionError):
    """Redis did not reply, or sent an unreadable reply. A write that raised this may or may not have happened."""


class InsecureCookieRefused(SessionError):
    """`insecure_cookie` is set and a request did not come from this machine; it was not served."""
