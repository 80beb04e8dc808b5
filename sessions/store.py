"""The sessions themselves: five operations, each one script and one round trip.

Every decision (has it ended? is the version still the loaded one?) is taken inside Redis, by Redis's clock,
in the `.lua` file of the operation's name; this file checks what goes in, bounds the wait and names what
came out.

States of a session: alive -> ended. It ends by logout (`revoke`), by `revoke_user`, by its idle or its
absolute limit, or with the loss of Redis; nothing leads back.

It refuses to guess: any trouble with Redis is SessionsUnavailable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from datetime import timedelta
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from .deadline import within
from .errors import SessionConflict, SessionGone, SessionRefused, SessionsUnavailable
from .session import Session, decode, encode
from .token import epoch_key, mint, place_of, user_key

TEXT_LIMIT = 255
"""Bytes of a user id or a label."""

SPAN_LIMIT = timedelta(days=3660)
"""The longest idle or absolute limit; what is meant to be for ever is not a session."""

CONNECTIONS = 32
"""At most so many at once from one process; a 33rd command waits for one of them, within its deadline."""

Reply = TypeVar("Reply")


class Sessions:
    """Sessions kept in one Redis. Safe to share between all tasks of a process.

    `deadline` bounds every call. `redis` should have socket timeouts, as that of `connect` does: they end a
    command whose caller no longer waits.
    """

    def __init__(self, redis: Redis, *, deadline: timedelta = timedelta(milliseconds=250)) -> None:
        self._redis = redis
        self._deadline = deadline
        self._create = self._script("create")
        self._load = self._script("load")
        self._save = self._script("save")
        self._revoke = self._script("revoke")
        self._revoke_user = self._script("revoke_user")

    @classmethod
    def connect(cls, url: str, *, deadline: timedelta = timedelta(milliseconds=250)) -> Sessions:
        """Sessions on the Redis at `url`; connects at first use. End with `close`.

        Example:
            >>> sessions = Sessions.connect("redis://127.0.0.1:6379/0")

        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=deadline.total_seconds(),
            socket_timeout=1,
            socket_connect_timeout=1,
        )
        return cls(Redis.from_pool(pool), deadline=deadline)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    async def create(
        self,
        user: str,
        data: Mapping[str, Any],
        *,
        label: str = "",
        idle: timedelta = timedelta(hours=12),
        absolute: timedelta = timedelta(days=7),
    ) -> tuple[str, Session]:
        """Log a user in: the token for the browser's cookie, and the session.

        `label` is shown to the user among their sessions (a device, say). The session ends `idle` after its
        last use and at the latest `absolute` after now. Raises SessionRefused, SessionsUnavailable.
        """
        _check_text("user", user, least=1)
        _check_text("label", label)
        limits = [_milliseconds("idle", idle), _milliseconds("absolute", absolute)]
        payload = encode(data)
        token = mint(user)
        place = place_of(token)
        assert place is not None  # noqa: S101  a token we have just made has the form of a token
        keys = [place.session_key, user_key(user), epoch_key(user)]
        record = await self._run(self._create(keys, [place.digest, user, *limits, label, payload]))
        return token, decode(place, record)

    async def load(self, token: str) -> Session | None:
        """The session of a token, None when it has ended or never was; counts as a use of it.

        A text that is not a token is None without asking Redis. Raises SessionsUnavailable.
        """
        place = place_of(token)
        if place is None:
            return None
        record = await self._run(self._load([place.session_key, place.prefix], [place.digest]))
        return decode(place, record) if record else None

    async def save(self, session: Session, data: Mapping[str, Any]) -> Session:
        """Replace the session's data, provided nobody did since `session` was loaded.

        Returns the session as saved. Raises SessionConflict (with what is there now), SessionGone,
        SessionRefused, SessionsUnavailable. After SessionsUnavailable, load again: the save may have
        happened.
        """
        place = session.place
        keys = [place.session_key, place.prefix]
        verdict, *record = await self._run(self._save(keys, [session.version, encode(data)]))
        if verdict in {b"gone", "gone"}:
            raise SessionGone("the session has ended: it was logged out or has expired; ask for a new login")
        current = decode(place, record)
        if verdict in {b"conflict", "conflict"}:
            raise SessionConflict(current)
        return current

    async def revoke(self, token: str) -> bool:
        """Log out: end this session. False when it had ended already. Raises SessionsUnavailable."""
        place = place_of(token)
        if place is None:
            return False
        return bool(await self._run(self._revoke([place.session_key, place.prefix], [place.digest])))

    async def revoke_user(self, user: str) -> None:
        """End all sessions of a user, in constant time (a leaver, say). Raises SessionsUnavailable."""
        _check_text("user", user, least=1)
        await self._run(self._revoke_user([epoch_key(user), user_key(user)]))

    def _script(self, name: str) -> AsyncScript:
        source = files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        return self._redis.register_script(source)

    async def _run(self, command: Awaitable[Reply]) -> Reply:
        try:
            return await within(self._deadline, command)
        except (RedisError, OSError, TimeoutError) as error:
            raise SessionsUnavailable(f"Redis did not serve the sessions: {error}") from error


def _check_text(field: str, text: str, *, least: int = 0) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise SessionRefused(f"{field} is not valid Unicode text: {error}") from error
    if not least <= size <= TEXT_LIMIT:
        raise SessionRefused(f"{field} must have {least} to {TEXT_LIMIT} bytes; it has {size}")


def _milliseconds(field: str, span: timedelta) -> int:
    if not timedelta(milliseconds=1) <= span <= SPAN_LIMIT:
        raise SessionRefused(f"{field} must be between 1 ms and {SPAN_LIMIT.days} days; it is {span}")
    return span // timedelta(milliseconds=1)
