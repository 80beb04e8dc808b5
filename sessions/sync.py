"""The same sessions without asyncio: for Flask, Django and scripts. See `store` for what each call means.

A call waits for Redis no longer than its deadline, and then gives its connection up: a reply that comes too late
can reach nobody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from . import operations as calls, service
from .errors import SessionsUnavailable
from .link import SyncSessionLinks, open_sync_links
from .operations import ABSOLUTE, DEADLINE, GRACE, IDLE, SessionOperation
from .session import Session
from .store import source
from .token import SessionPlace, place_of, tag_of

Result = TypeVar("Result")


class SyncEpochs(Protocol):
    """Where users' epochs are kept beside Redis: `store.Epochs` without asyncio."""

    def begin(self, user: str) -> int:
        """One more than the user's epoch here was."""

    def end(self, user: str, epoch: int) -> None:
        """Note the epoch that Redis has now."""

    def all(self) -> list[tuple[str, int]]:
        """Every user who has one."""


class SyncSessions:
    """Sessions kept in one Redis. Safe to share between threads.

    Args:
        redis: a redis-py client, which keeps its own timeouts, or what has the shape of `link.SyncLinks`.
        deadline, epochs: as of `Sessions`.
    """

    def __init__(
        self, redis: Redis | SyncSessionLinks, *, deadline: timedelta = DEADLINE, epochs: SyncEpochs | None = None
    ) -> None:
        self._links = open_sync_links(redis)
        self._epochs = epochs
        self._deadline = deadline.total_seconds()

    @classmethod
    def connect(
        cls, url: str, *, deadline: timedelta = DEADLINE, epochs: SyncEpochs | None = None
    ) -> SyncSessions:
        """Sessions on the Redis at `url`; connects at first use. `docs/operations.md` has the forms of it.

        Raises ValueError for an address that is none.
        """
        return cls(open_sync_links(url), deadline=deadline, epochs=epochs)

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
        """Log a user in: the token for the browser's cookie, and the session.

        `label` is shown to the user among their sessions (a device, say). The session ends `idle` after its
        last use and at the latest `absolute` after now. With a `cap`, the user's sessions that would end first are
        ended when there are more. Raises SessionRefused, SessionsUnavailable.
        """
        call = calls.create(user, data, label=label, idle=idle, absolute=absolute, cap=cap)
        return self._run(call)

    def create_service(self, name: str, roots: Collection[int], *, lasts: timedelta) -> tuple[str, Session]:
        """A token for a machine, which reads the subtrees of `roots` and ends after `lasts`, used or not.

        It is listed by ``sessions_of(SERVICE_USER)`` and ended like any session. Raises SessionRefused,
        SessionsUnavailable.

        Example:
            >>> token, _ = sessions.create_service("wallboard", [17], lasts=timedelta(days=90))

        """
        return self._run(service.create(name, roots, lasts=lasts))

    def load(self, token: str) -> Session | None:
        """The session of a token, None when it has ended or never was; counts as a use of it.

        A text that is not a token is None without asking Redis. Raises SessionsUnavailable.
        """
        place = place_of(token)
        return None if place is None else self._run(calls.load(place))

    def save(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Replace the session's data, provided nobody did since `session` was loaded.

        Returns the session as saved. Raises SessionConflict (with what is there now), SessionGone,
        SessionRefused, SessionsUnavailable. After SessionsUnavailable, load again: the save may have
        happened.
        """
        return self._run(calls.save(session, data))

    def rotate(self, token: str, *, grace: timedelta = GRACE) -> tuple[str, Session] | None:
        """Give the session a new token: after a log-in with more rights, or now and then.

        The old token opens the session for `grace` more, so that requests under way do not fail. None when another
        request has just done it: that one's answer carries the new token. Raises SessionGone, SessionRefused,
        SessionsUnavailable; after the last, go on with the old token.

        Example:
            >>> token, session = sessions.rotate(token)

        """
        return self._run(calls.rotate(calls.known_place(token), grace=grace))

    def sessions_of(self, user: str) -> list[Session]:
        """The living sessions of a user, at most 100. Raises SessionRefused, SessionsUnavailable."""
        return self._run(calls.sessions_of(user))

    def revoke(self, token: str) -> bool:
        """Log out: end this session. False when it had ended already. Raises SessionsUnavailable."""
        place = place_of(token)
        return False if place is None else self._run(calls.revoke(place))

    def revoke_listed(self, user: str, digest: str) -> bool:
        """End one of a user's sessions as `sessions_of` lists it (``session.place.digest``).

        False when it had ended already. Raises SessionsUnavailable.
        """
        return self._run(calls.revoke(SessionPlace(tag_of(user), digest)))

    def revoke_user(self, user: str) -> int:
        """End all sessions of a user, in constant time (a leaver, say); the user's new epoch.

        Raises SessionRefused, SessionsUnavailable; with `epochs` also what they raise, and then nothing has ended.
        """
        if self._epochs is None:
            return self._run(calls.revoke_user(user))
        calls.check_text("user", user, least=1)
        epoch = self._run(calls.revoke_user(user, least=self._epochs.begin(user)))
        self._epochs.end(user, epoch)
        return epoch

    def restore_epochs(self) -> int:
        """Put back what Redis has forgotten of ended sessions; how many users it had forgotten.

        Raises SessionsUnavailable, and what the epochs raise.
        """
        known = [] if self._epochs is None else self._epochs.all()
        return sum([self._run(calls.restore_epoch(user, epoch)) for user, epoch in known])

    def _run(self, call: SessionOperation[Result]) -> Result:
        try:
            reply = self._links.run(source(call.script), call.keys, call.arguments, seconds=self._deadline)
        except (RedisError, OSError) as error:  # a timeout is an OSError
            raise SessionsUnavailable(f"Redis did not serve the sessions: {error}") from error
        return call.read(reply)
