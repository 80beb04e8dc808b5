"""The sessions themselves: each operation one script and one round trip.

Every decision (has it ended? is the version still the loaded one?) is taken inside Redis, by Redis's clock,
in the `.lua` file of the operation's name; `calls` checks what goes in and names what came out; this file bounds
the wait.

States of a session: alive -> ended. It ends by logout (`revoke`), by `revoke_user`, by its idle or its
absolute limit, by the cap on a user's sessions, or with the loss of Redis; nothing leads back.

It refuses to guess: any trouble with Redis is SessionsUnavailable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Protocol, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from . import operations as calls, service
from .errors import SessionsUnavailable
from .link import SessionLinks, open_links
from .operations import ABSOLUTE, DEADLINE, GRACE, IDLE, SessionOperation
from .session import Session
from .token import SessionPlace, place_of, tag_of

Result = TypeVar("Result")


@cache
def source(script: str) -> str:
    """The text of one of the `.lua` files."""
    return files(__package__).joinpath(f"{script}.lua").read_text(encoding="utf-8")


class Epochs(Protocol):
    """Where users' epochs are kept beside Redis; `epochs_postgres.DurableEpochs` is one."""

    async def begin(self, user: str) -> int:
        """One more than the user's epoch here was."""

    async def end(self, user: str, epoch: int) -> None:
        """Note the epoch that Redis has now."""

    async def all(self) -> list[tuple[str, int]]:
        """Every user who has one."""


class Sessions:
    """Sessions kept in one Redis. Safe to share between all tasks, event loops and threads of a process.

    `deadline` bounds every call. With `epochs`, that all sessions of a user were ended is written there first, and
    outlives a Redis that forgets. `redis` is a redis-py client for one event loop, or what has the shape of
    `link.Links`.
    """

    def __init__(
        self, redis: Redis | SessionLinks, *, deadline: timedelta = DEADLINE, epochs: Epochs | None = None
    ) -> None:
        self._links = open_links(redis)
        self._epochs = epochs
        self._deadline = deadline.total_seconds()

    @classmethod
    def connect(cls, url: str, *, deadline: timedelta = DEADLINE, epochs: Epochs | None = None) -> Sessions:
        """Sessions on the Redis at `url`; connects at first use. End with `close`.

        All calls of an event loop share one connection, on a cluster one to each primary. Raises ValueError for an
        address that is none; `docs/operations.md` has the forms.

        Example:
            >>> sessions = Sessions.connect("redis://127.0.0.1:6379/0")

        """
        return cls(open_links(url), deadline=deadline, epochs=epochs)

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
        """Log a user in: the token for the browser's cookie, and the session.

        `label` is shown to the user among their sessions (a device, say). The session ends `idle` after its
        last use and at the latest `absolute` after now. With a `cap`, the user's sessions that would end first are
        ended when there are more. Raises SessionRefused, SessionsUnavailable.
        """
        call = calls.create(user, data, label=label, idle=idle, absolute=absolute, cap=cap)
        return await self._run(call)

    async def create_service(self, name: str, roots: Collection[int], *, lasts: timedelta) -> tuple[str, Session]:
        """A token for a machine, which reads the subtrees of `roots` and ends after `lasts`, used or not.

        It is listed by ``sessions_of(SERVICE_USER)`` and ended like any session. Raises SessionRefused,
        SessionsUnavailable.

        Example:
            >>> token, _ = await sessions.create_service("wallboard", [17], lasts=timedelta(days=90))

        """
        return await self._run(service.create(name, roots, lasts=lasts))

    async def load(self, token: str) -> Session | None:
        """The session of a token, None when it has ended or never was; counts as a use of it.

        A text that is not a token is None without asking Redis. Raises SessionsUnavailable.
        """
        place = place_of(token)
        return None if place is None else await self._run(calls.load(place))

    async def save(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Replace the session's data, provided nobody did since `session` was loaded.

        Returns the session as saved. Raises SessionConflict (with what is there now), SessionGone,
        SessionRefused, SessionsUnavailable. After SessionsUnavailable, load again: the save may have
        happened.
        """
        return await self._run(calls.save(session, data))

    async def rotate(self, token: str, *, grace: timedelta = GRACE) -> tuple[str, Session] | None:
        """Give the session a new token: after a log-in with more rights, or now and then.

        The old token opens the session for `grace` more, so that requests under way do not fail. None when another
        request has just done it: that one's answer carries the new token. Raises SessionGone, SessionRefused,
        SessionsUnavailable; after the last, go on with the old token.

        Example:
            >>> token, session = await sessions.rotate(token)

        """
        return await self._run(calls.rotate(calls.known_place(token), grace=grace))

    async def sessions_of(self, user: str) -> list[Session]:
        """The living sessions of a user, at most 100. Raises SessionRefused, SessionsUnavailable."""
        return await self._run(calls.sessions_of(user))

    async def revoke(self, token: str) -> bool:
        """Log out: end this session. False when it had ended already. Raises SessionsUnavailable."""
        place = place_of(token)
        return False if place is None else await self._run(calls.revoke(place))

    async def revoke_listed(self, user: str, digest: str) -> bool:
        """End one of a user's sessions as `sessions_of` lists it (``session.place.digest``).

        False when it had ended already. Raises SessionsUnavailable.
        """
        return await self._run(calls.revoke(SessionPlace(tag_of(user), digest)))

    async def revoke_user(self, user: str) -> int:
        """End all sessions of a user, in constant time (a leaver, say); the user's new epoch.

        Raises SessionRefused, SessionsUnavailable; with `epochs` also what they raise, and then nothing has ended.
        """
        if self._epochs is None:
            return await self._run(calls.revoke_user(user))
        calls.check_text("user", user, least=1)
        epoch = await self._run(calls.revoke_user(user, least=await self._epochs.begin(user)))
        await self._epochs.end(user, epoch)
        return epoch

    async def restore_epochs(self) -> int:
        """Put back what Redis has forgotten of ended sessions; how many users it had forgotten.

        Raises SessionsUnavailable, and what the epochs raise.
        """
        known = [] if self._epochs is None else await self._epochs.all()
        return sum([await self._run(calls.restore_epoch(user, epoch)) for user, epoch in known])

    async def _run(self, call: SessionOperation[Result]) -> Result:
        try:
            reply = await self._links.run(source(call.script), call.keys, call.arguments, seconds=self._deadline)
        except (RedisError, OSError) as error:  # a timeout is an OSError
            raise SessionsUnavailable(f"Redis did not serve the sessions: {error}") from error
        return call.read(reply)
