"""The same sessions without asyncio: for Flask, Django and scripts. See `store` for what each call means.

A call waits for Redis no longer than its deadline, and then gives its connection up: a reply that comes too late
can reach nobody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from . import calls, service
from .calls import ABSOLUTE, DEADLINE, GRACE, IDLE, Call
from .errors import SessionsUnavailable
from .link import SyncLinks, open_sync_links
from .session import Session
from .store import source
from .token import Place, place_of, tag_of

Result = TypeVar("Result")


class SyncSessions:
    """Sessions kept in one Redis. Safe to share between threads.

    Args:
        redis: a redis-py client, which keeps its own timeouts, or what has the shape of `link.SyncLinks`.
    """

    def __init__(self, redis: Redis | SyncLinks, *, deadline: timedelta = DEADLINE) -> None:
        self._links = open_sync_links(redis)
        self._deadline = deadline.total_seconds()

    @classmethod
    def connect(cls, url: str, *, deadline: timedelta = DEADLINE) -> SyncSessions:
        """Sessions on the Redis at `url`; connects at first use. `docs/operations.md` has the forms of it.

        Raises ValueError for an address that is none.
        """
        return cls(open_sync_links(url), deadline=deadline)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._links.close()

    def create(
        self,
        user: str,
        data: Mapping[str, Any],
        *,
        label: str = "",
        idle: timedelta = IDLE,
        absolute: timedelta = ABSOLUTE,
        cap: int = 0,
    ) -> tuple[str, Session]:
        """Log a user in. Raises SessionRefused, SessionsUnavailable."""
        return self._run(calls.create(user, data, label=label, idle=idle, absolute=absolute, cap=cap))

    def create_service(self, name: str, roots: Collection[int], *, lasts: timedelta) -> tuple[str, Session]:
        """A token for a machine. Raises SessionRefused, SessionsUnavailable."""
        return self._run(service.create(name, roots, lasts=lasts))

    def load(self, token: str) -> Session | None:
        """The session of a token, None when it has ended. Raises SessionsUnavailable."""
        place = place_of(token)
        return None if place is None else self._run(calls.load(place))

    def save(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Replace the data. Raises SessionConflict, SessionGone, SessionRefused, SessionsUnavailable."""
        return self._run(calls.save(session, data))

    def rotate(self, token: str, *, grace: timedelta = GRACE) -> tuple[str, Session] | None:
        """Give the session a new token. Raises SessionGone, SessionRefused, SessionsUnavailable."""
        return self._run(calls.rotate(calls.known_place(token), grace=grace))

    def sessions_of(self, user: str) -> list[Session]:
        """The living sessions of a user. Raises SessionRefused, SessionsUnavailable."""
        return self._run(calls.sessions_of(user))

    def revoke(self, token: str) -> bool:
        """Log out. Raises SessionsUnavailable."""
        place = place_of(token)
        return False if place is None else self._run(calls.revoke(place))

    def revoke_listed(self, user: str, digest: str) -> bool:
        """End one of a user's sessions. Raises SessionsUnavailable."""
        return self._run(calls.revoke(Place(tag_of(user), digest)))

    def revoke_user(self, user: str) -> int:
        """End all sessions of a user. Raises SessionRefused, SessionsUnavailable."""
        return self._run(calls.revoke_user(user))

    def _run(self, call: Call[Result]) -> Result:
        try:
            reply = self._links.run(source(call.script), call.keys, call.arguments, seconds=self._deadline)
        except (RedisError, OSError) as error:
            raise SessionsUnavailable(f"Redis did not serve the sessions: {error}") from error
        return call.read(reply)
