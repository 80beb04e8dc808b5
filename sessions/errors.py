"""What can go wrong with a session, and whose turn it is to act.

`SessionRefused` is the caller's mistake. `SessionConflict` and `SessionGone` are news about the session.
`SessionsUnavailable` is about Redis: the request must be answered with 503, because letting it pass as
anonymous, or as logged in, would both be guesses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


class SessionError(Exception):
    """Base of all errors of this room; never raised itself."""


class SessionRefused(SessionError, ValueError):
    """What was to be stored is not acceptable; nothing was written."""


class SessionConflict(SessionError):
    """Somebody else saved this session since it was loaded; nothing was written.

    `current` is the session as it is now: apply the change to `current.data` and save that.
    """

    def __init__(self, current: Session) -> None:
        super().__init__(
            f"the session was saved by another request (it is now at version {current.version}): "
            "apply the change to .current and save again"
        )
        self.current = current


class SessionGone(SessionError):
    """The session was logged out, revoked or has expired; nothing was written. Ask for a new login."""


class SessionsUnavailable(SessionError):
    """Redis did not answer, or not as it should. A write that ended so may or may not have happened."""
