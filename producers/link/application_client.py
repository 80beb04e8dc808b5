"""Links over a redis-py client that an application hands in, for asyncio and for threads.

| option of the client    | asyncio                                          | threads                    |
|-------------------------|--------------------------------------------------|----------------------------|
| address, user, TLS      | used                                             | used                       |
| `protocol`              | used: replies read the same in RESP2 and RESP3   | used                       |
| `retry`, `retry_on_*`   | used within the budget: no script does harm when | not used                   |
|                         | it is repeated                                   |                            |
| `socket_timeout`        | used within the budget                           | the budget takes its place |
| `decode_responses=True` | producers refuse it                              | not used                   |

Calls of threads go over connections of their own: redis-py's client for threads takes no timeout for one call, and
redis-py 8 repeats a command up to ten times after a lost reply.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from .budget import TimeBudget, Words
from .command import Argument
from .deadline import seconds_left
from .links import Caller
from .sync import Calls
from .unusable import FOREIGN_CLIENT, UnusableLink

_INTERNAL = ("himport_", "maint_", "maintenance_", "orig_", "oss_cluster_")
"""Prefixes of the options that redis-py (7.0 and later) adds to a pool for its own use."""

_LOOP_OF = WeakKeyDictionary[Redis, AbstractEventLoop]()
"""Event loop of each client's first call, shared by all that use the client."""


class ApplicationClient(Caller):
    """An application's redis-py client, with its own connections; for one event loop until it is closed."""

    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._loop: AbstractEventLoop | None = None
        self.call = client.execute_command

    def of(self, tag: str) -> ApplicationClient | UnusableLink:
        """Return itself: it serves all keys; in a second event loop a link that refuses all calls."""
        del tag
        loop = asyncio.get_running_loop()
        self._loop = self._loop or _LOOP_OF.setdefault(self._redis, loop)
        return self if self._loop is loop else UnusableLink(FOREIGN_CLIENT)

    def within(self, seconds: float, tag: str, words: Words | None = None) -> TimeBudget:
        """Limit the time of calls; redis-py closes the connection of a cancelled call."""
        del tag
        return TimeBudget(seconds, None, words)

    async def close(self) -> None:
        """Close the client; the next event loop may use it again."""
        await self._redis.aclose()
        self._loop = None
        _LOOP_OF.pop(self._redis, None)


class SyncApplicationClient(Calls):
    """An application's client for threads; its calls go over connections of their own."""

    def __init__(self, client: redis.Redis) -> None:
        self._given = client
        self._own: redis.Redis | None = None

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values."""
        if self._own is None:
            self._own = redis.Redis.from_pool(_own_pool(self._given.connection_pool, seconds=seconds_left()))
        return _exchange(self._own, commands)

    def close(self) -> None:
        """Close the connections and the client; the next call opens others."""
        if self._own is not None:
            self._own.close()  # type: ignore[no-untyped-call]
            self._own = None
        self._given.close()  # type: ignore[no-untyped-call]


def check_decoding(client: object) -> None:
    """Check that a client for asyncio returns replies as bytes.

    Raises:
        ValueError: it decodes them.
    """
    if isinstance(client, Redis) and client.get_encoder().decode_responses:  # type: ignore[no-untyped-call]
        raise ValueError(
            "decode_responses: must be False, because payloads are bytes; make a client without it for the "
            "producer, or use Producer.connect(url)"
        )


def _own_pool(given: redis.ConnectionPool, *, seconds: float) -> redis.ConnectionPool:
    """Return a pool with the options of another one, but without retries and with the budget as timeout."""
    options = {name: value for name, value in given.connection_kwargs.items() if not name.startswith(_INTERNAL)}
    if notices := given.connection_kwargs.get("maint_notifications_config"):
        options["maint_notifications_config"] = type(notices)(enabled=False)
    options |= {"retry": Retry(NoBackoff(), 0), "retry_on_error": [], "retry_on_timeout": False}
    options |= {"socket_timeout": seconds, "socket_connect_timeout": seconds, "decode_responses": False}
    return redis.ConnectionPool(connection_class=given.connection_class, **options)


def _exchange(client: redis.Redis, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
        except ResponseError as refusal:
            return [refusal]
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        return list(pipe.execute(raise_on_error=False))  # type: ignore[no-untyped-call]
