"""Sessions without asyncio, for Flask, Django and scripts: the calls of `store`, with the same meaning.

A call waits for Redis at most its deadline and then closes its connection, so that a late reply cannot reach
another call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from . import operations as calls, service
from .errors import SessionsUnavailable
from .link import SyncSessionLinks, checked_seconds, naming, open_sync_links, redis_errors
from .operations import ABSOLUTE, DEADLINE, GRACE, IDLE, SessionOperation
from .session import Session
from .store import script_source
from .token import SessionPlace, place_of, tag_of

if TYPE_CHECKING:
    from redis import Redis

Result = TypeVar("Result")


class SyncEpochs(Protocol):
    """Durable store of users' epochs beside Redis: `store.Epochs` without asyncio."""

    def begin(self, user: str) -> int:
        """Increment the user's stored epoch and return it."""

    def end(self, user: str, epoch: int) -> None:
        """Raise the user's stored epoch to the one that Redis has now."""

    def all(self) -> list[tuple[str, int]]:
        """Return all users who have an epoch, with their epochs."""


class SyncSessions:
    """Sessions stored in one Redis. Safe to share between threads.

    Args:
        redis: a redis-py client, whose address and log-in are used on separate connections, or an object that fits
            `link.SyncSessionLinks`.
        deadline, epochs: as in `Sessions`.
    """

    def __init__(
        self, redis: Redis | SyncSessionLinks, *, deadline: timedelta = DEADLINE, epochs: SyncEpochs | None = None
    ) -> None:
        with naming("redis"):
            self._links = open_sync_links(redis)
        self._epochs = epochs
        self._deadline = checked_seconds(deadline)

    @classmethod
    def connect(
        cls, url: str, *, deadline: timedelta = DEADLINE, epochs: SyncEpochs | None = None
    ) -> SyncSessions:
        """Return sessions on the Redis at `url`, which connect at the first call.

        Raises SessionRefused for an invalid address; `docs/operations.md` lists the forms.
        """
        with naming("url"):
            links = open_sync_links(url)
        return cls(links, deadline=deadline, epochs=epochs)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._links.close()

    # Every call below stands in `sessions/store.py` too: `python -m tests.twins` writes it from there.

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
        """Log a user in and return the token for the browser's cookie and the session.

        Args:
            user: the user's id, 1 to 255 bytes.
            data: the application's JSON object, at most 64 KiB.
            label: text shown to the user in the list of their sessions, such as the device; at most 255 bytes.
            idle: time after its last use at which the session ends.
            absolute: time from now at which the session ends at the latest.
            cap: number of sessions that the user may have, at most 100; above it, the sessions that would end
                first are ended. 0 for no limit.

        Raises:
            SessionRefused: an argument is invalid.
            SessionsUnavailable: Redis did not reply within the deadline.
        """
        call = calls.create(user, data, label=label, idle=idle, absolute=absolute, cap=cap)
        return self.run(call)

    def create_service(
        self, name: str, roots: Collection[int | str | UUID], *, lasts: timedelta
    ) -> tuple[str, Session]:
        """Create a token for a machine, which reads the subtrees of `roots`, and return it with its session.

        The session ends after `lasts`, used or not. ``sessions_of(SERVICE_USER)`` lists it, and it is revoked like
        any session. Raises SessionRefused, SessionsUnavailable.

        Example:
            >>> token, _ = sessions.create_service("wallboard", [17], lasts=timedelta(days=90))

        """
        return self.run(service.create(name, roots, lasts=lasts))

    def load(self, token: str) -> Session | None:
        """Return the session of a token, or None if it has ended or never existed. Counts as a use of the session.

        A text that is not a token gives None without a request to Redis. Raises SessionsUnavailable.
        """
        place = place_of(token)
        return None if place is None else self.run(calls.load(place))

    def save(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Replace the session's data and return the session as saved.

        Raises:
            SessionConflict: another request saved the session since `session` was loaded; the error has it as
                it is now.
            SessionGone: the session has ended.
            SessionRefused: the data is not a JSON object, or too large.
            SessionsUnavailable: Redis did not reply; load again, because the save may have happened.
        """
        return self.run(calls.save(session, data))

    def rotate(self, token: str, *, grace: timedelta = GRACE) -> tuple[str, Session] | None:
        """Replace the session's token, after a login with more rights or from time to time, and return both.

        The old token opens the session for `grace` more, so that concurrent requests do not fail. Returns None if
        another request has just rotated the token: that request's response carries the new one. Raises
        SessionGone, SessionRefused, SessionsUnavailable; after SessionsUnavailable, keep the old token.

        Example:
            >>> token, session = sessions.rotate(token)

        """
        return self.run(calls.rotate(calls.known_place(token), grace=grace))

    def sessions_of(self, user: str) -> list[Session]:
        """Return a user's live sessions, at most 100. Raises SessionRefused, SessionsUnavailable."""
        return self.run(calls.sessions_of(user))

    def revoke(self, token: str) -> bool:
        """End a token's session (log out). Returns False if it had already ended. Raises SessionsUnavailable."""
        place = place_of(token)
        return False if place is None else self.run(calls.revoke(place))

    def revoke_listed(self, user: str, digest: str) -> bool:
        """End one of a user's sessions, by the ``session.place.digest`` that `sessions_of` lists.

        Returns False if it had already ended. Raises SessionsUnavailable.
        """
        return self.run(calls.revoke(SessionPlace(tag_of(user), digest)))

    def revoke_user(self, user: str) -> int:
        """End all sessions of a user, in constant time, and return the user's new epoch.

        Raises SessionRefused, SessionsUnavailable; with `epochs` also their errors, and then no session has ended.
        """
        if self._epochs is None:
            return self.run(calls.revoke_user(user))
        calls.check_text("user", user, least=1)
        epoch = self.run(calls.revoke_user(user, least=self._epochs.begin(user)))
        self._epochs.end(user, epoch)
        return epoch

    def restore_epochs(self) -> int:
        """Write users' epochs back to a Redis that lost them, and return the number of users it had lost.

        Raises SessionsUnavailable, and the errors of the epochs.
        """
        known = [] if self._epochs is None else self._epochs.all()
        return sum([self.run(calls.restore_epoch(user, epoch)) for user, epoch in known])

    def run(self, call: SessionOperation[Result]) -> Result:
        """Run an operation of :mod:`.operations`, as the calls above do.

        Raises SessionsUnavailable, and the errors of the operation.
        """
        try:
            reply = self._links.run(script_source(call.script), call.keys, call.arguments, seconds=self._deadline)
        except redis_errors() as error:
            raise SessionsUnavailable(f"Redis: cannot serve sessions ({error}); respond with 503") from error
        return call.read(reply)
