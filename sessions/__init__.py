"""Login sessions, shared by all backend servers that use the same Redis.

Backends in any language share a session by its token; `docs/sessions.md` describes the stored format on one page.
The guarantees, each with a test of that name:

- a token is 256 random bits and is never stored: Redis holds only its SHA-256;
- a session that was logged out stays logged out: a late save cannot bring it back;
- two servers that save at once lose nothing: the second gets what the first wrote;
- all sessions of a user end at once, in constant time;
- when Redis is unavailable no user is let in: calls raise `SessionsUnavailable` and never guess.

Example:
    >>> sessions = Sessions.connect("redis://127.0.0.1:6379/0")
    >>> token, session = await sessions.create("u-17", {"roots": [17]}, label="Firefox on Linux")
    >>> session = await sessions.load(token)          # one round trip; None when it has ended
    >>> session = await sessions.save(session, {**session.data, "locale": "es"})
    >>> token, session = await sessions.rotate(token) # a new token for the same session
    >>> await sessions.revoke(token)                  # log out
    >>> await sessions.revoke_user("u-17")            # log out everywhere

"""

from .errors import (
    InsecureCookieRefused as InsecureCookieRefused,
    SessionConflict as SessionConflict,
    SessionError as SessionError,
    SessionGone as SessionGone,
    SessionRefused as SessionRefused,
    SessionsUnavailable as SessionsUnavailable,
)
from .middleware import SessionMiddleware as SessionMiddleware
from .operations import SERVICE_USER as SERVICE_USER
from .session import Session as Session
from .store import Sessions as Sessions
from .sync import SyncSessions as SyncSessions
from .sync_visit import SyncVisit as SyncVisit
from .visit import Visit as Visit
