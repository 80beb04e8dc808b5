"""Sessions for asyncio: each operation is one script and one round trip.

Redis takes every decision (has the session ended? is its version still the loaded one?) by its own clock, in the
`.lua` file of the operation's name. `operations` checks arguments and reads replies; this file bounds the wait.

States of a session: alive -> ended. It ends by logout (`revoke`), by `revoke_user`, by its idle or its
absolute limit, by the cap on a user's sessions, or with the loss of Redis's data; an ended session never returns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from . import operations as calls, service
from .errors import SessionsUnavailable
from .link import SessionLinks, checked_seconds, naming, open_links, redis_errors
from .operations import ABSOLUTE, DEADLINE, GRACE, IDLE, SessionOperation
from .session import Session
from .token import SessionPlace, place_of, tag_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

Result = TypeVar("Result")


@cache
def script_source(script: str) -> str:
    """Return the text of a `.lua` file of this package."""
    return (Path(__file__).parent / f"{script}.lua").read_text(encoding="utf-8")


class Epochs(Protocol):
    """Durable store of users' epochs beside Redis; `epochs_postgres.DurableEpochs` is one."""

    async def begin(self, user: str) -> int:
        """Increment the user's stored epoch and return it."""

    async def end(self, user: str, epoch: int) -> None:
        """Raise the user's stored epoch to the one that Redis has now."""

    async def all(self) -> list[tuple[str, int]]:
        """Return all users who have an epoch, with their epochs."""


class Sessions:
    """Sessions stored in one Redis. Safe to share between all tasks, event loops and threads of a process.

    Args:
        redis: a redis-py client, for one event loop, or an object that fits `link.SessionLinks`.
        deadline: maximum duration of a call.
        epochs: durable store in which `revoke_user` is recorded first, so that it survives a loss of Redis's data.
    """

    def __init__(
        self, redis: Redis | SessionLinks, *, deadline: timedelta = DEADLINE, epochs: Epochs | None = None
    ) -> None:
        with naming("redis"):
            self._links = open_links(redis)
        self._epochs = epochs
        self._deadline = checked_seconds(deadline)

    @classmethod
    def connect(cls, url: str, *, deadline: timedelta = DEADLINE, epochs: Epochs | None = None) -> Sessions:
        """Return sessions on the Redis at `url`, which connect at the first call. Close them with `close`.

        All calls of an event loop share one connection, on a cluster one to each primary. Raises SessionRefused
        for an invalid address; `docs/operations.md` lists the forms.

        Example:
            >>> sessions = Sessions.connect("redis://127.0.0.1:6379/0")

        """
        with naming("url"):
            links = open_links(url)
        return cls(links, deadline=deadline, epochs=epochs)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._links.close()

    # Every call below stands in `sessions/sync.py` too, without asyncio: `python -m tests.twins` writes it there.

    async def create(
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
        return await self.run(call)

    async def create_service(
        self, name: str, roots: Collection[int | str | UUID], *, lasts: timedelta
    ) -> tuple[str, Session]:
        """Create a token for a machine, which reads the subtrees of `roots`, and return it with its session.

        The session ends after `lasts`, used or not. ``sessions_of(SERVICE_USER)`` lists it, and it is revoked like
        any session. Raises SessionRefused, SessionsUnavailable.

        Example:
            >>> token, _ = await sessions.create_service("wallboard", [17], lasts=timedelta(days=90))

        """
        return await self.run(service.create(name, roots, lasts=lasts))

    async def load(self, token: str) -> Session | None:
        """Return the session of a token, or None if it has ended or never existed. Counts as a use of the session.

        A text that is not a token gives None without a request to Redis. Raises SessionsUnavailable.
        """
        place = place_of(token)
        return None if place is None else await self.run(calls.load(place))

    async def save(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Replace the session's data and return the session as saved.

        Raises:
            SessionConflict: another request saved the session since `session` was loaded; the error has it as
                it is now.
            SessionGone: the session has ended.
            SessionRefused: the data is not a JSON object, or too large.
            SessionsUnavailable: Redis did not reply; load again, because the save may have happened.
        """
        return await self.run(calls.save(session, data))

    async def rotate(self, token: str, *, grace: timedelta = GRACE) -> tuple[str, Session] | None:
        """Replace the session's token, after a login with more rights or from time to time, and return both.

        The old token opens the session for `grace` more, so that concurrent requests do not fail. Returns None if
        another request has just rotated the token: that request's response carries the new one. Raises
        SessionGone, SessionRefused, SessionsUnavailable; after SessionsUnavailable, keep the old token.

        Example:
            >>> token, session = await sessions.rotate(token)

        """
        return await self.run(calls.rotate(calls.known_place(token), grace=grace))

    async def sessions_of(self, user: str) -> list[Session]:
        """Return a user's live sessions, at most 100. Raises SessionRefused, SessionsUnavailable."""
        return await self.run(calls.sessions_of(user))

    async def revoke(self, token: str) -> bool:
        """End a token's session (log out). Returns False if it had already ended. Raises SessionsUnavailable."""
        place = place_of(token)
        return False if place is None else await self.run(calls.revoke(place))

    async def revoke_listed(self, user: str, digest: str) -> bool:
        """End one of a user's sessions, by the ``session.place.digest`` that `sessions_of` lists.

        Returns False if it had already ended. Raises SessionsUnavailable.
        """
        return await self.run(calls.revoke(SessionPlace(tag_of(user), digest)))

    async def revoke_user(self, user: str) -> int:
        """End all sessions of a user, in constant time, and return the user's new epoch.

        Raises SessionRefused, SessionsUnavailable; with `epochs` also their errors, and then no session has ended.
        """
        if self._epochs is None:
            return await self.run(calls.revoke_user(user))
        calls.check_text("user", user, least=1)
        epoch = await self.run(calls.revoke_user(user, least=await self._epochs.begin(user)))
        await self._epochs.end(user, epoch)
        return epoch

    async def restore_epochs(self) -> int:
        """Write users' epochs back to a Redis that lost them, and return the number of users it had lost.

        Raises SessionsUnavailable, and the errors of the epochs.
        """
        known = [] if self._epochs is None else await self._epochs.all()
        return sum([await self.run(calls.restore_epoch(user, epoch)) for user, epoch in known])

    async def run(self, call: SessionOperation[Result]) -> Result:
        """Run an operation of :mod:`.operations`, as the calls above do.

        Raises SessionsUnavailable, and the errors of the operation.
        """
        try:
            reply = await self._links.run(
                script_source(call.script), call.keys, call.arguments, seconds=self._deadline
            )
        except redis_errors() as error:
            raise SessionsUnavailable(f"Redis: cannot serve sessions ({error}); respond with 503") from error
        return call.read(reply)
