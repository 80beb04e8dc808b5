"""The connections of a stand-in, made from the one that an arq application has configured.

An arq application configures the way to Redis: a host, a socket, TLS, Sentinel, or a pool that it created. In each
case the scripts use that pool, and the thread that renews leases gets a synchronous client with the same address
and credentials.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from arq.connections import ArqRedis
from redis import Connection, ConnectionPool, Redis as BlockingRedis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio import SSLConnection as AsyncSSLConnection, UnixDomainSocketConnection as AsyncSocketConnection
from redis.asyncio.sentinel import (
    SentinelConnectionPool as AsyncSentinelPool,
    SentinelManagedSSLConnection as AsyncSentinelSSL,
)
from redis.exceptions import NoScriptError, ResponseError
from redis.sentinel import Sentinel

from producers.link import Argument, Link

_ANSWER_SECONDS = 2
_OF_THE_EVENT_LOOP = {"retry", "connection_pool", "redis_connect_func"}
"""Options that hold objects of the asynchronous client."""


class PoolLink(Link):
    """A link that sends over an application's pool.

    Args:
        pool: returns the pool; called for each command, because arq creates a new one after a close.
    """

    def __init__(self, pool: Callable[[], ArqRedis]) -> None:
        self._pool = pool

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  the type depends on the command
        """Send one command and return its reply."""
        (reply,) = await self.call_many((command,))
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def call_many(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Send commands together and return their replies in order, with error replies as values."""
        async with self._pool().pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return [_plain(reply) for reply in await pipe.execute(raise_on_error=False)]

    def drop(self) -> None:
        """Do nothing: the pool closes a connection itself when a reply does not come."""


def blocking_twin(redis: ArqRedis) -> BlockingRedis:
    """Return a synchronous client for the same server, with timeouts well below a lease."""
    pool = redis.connection_pool
    if isinstance(pool, AsyncSentinelPool):
        return _sentinel_twin(pool)
    options = _options(pool.connection_kwargs)
    return BlockingRedis(connection_pool=ConnectionPool(connection_class=_kind(pool.connection_class), **options))


def _sentinel_twin(pool: AsyncSentinelPool) -> BlockingRedis:
    addresses = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    options = _options(pool.connection_kwargs)
    options["ssl"] = issubclass(pool.connection_class, AsyncSentinelSSL)
    manager = Sentinel(  # type: ignore[no-untyped-call]
        [(one["host"], one["port"]) for one in addresses],
        sentinel_kwargs=_options(pool.sentinel_manager.sentinel_kwargs),
    )
    twin: BlockingRedis = manager.master_for(pool.service_name, **options)  # type: ignore[no-untyped-call]
    return twin


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in _OF_THE_EVENT_LOOP}
    return {**kept, "socket_timeout": _ANSWER_SECONDS, "socket_connect_timeout": _ANSWER_SECONDS}


def _kind(connection: type) -> type[Connection] | type[UnixDomainSocketConnection]:
    if issubclass(connection, AsyncSocketConnection):
        return UnixDomainSocketConnection
    return SSLConnection if issubclass(connection, AsyncSSLConnection) else Connection


def _plain(reply: Any) -> Any:  # noqa: ANN401  the type depends on the command
    """Return the reply, with the code NOSCRIPT restored, which redis-py removes from the error's text."""
    return ResponseError(f"NOSCRIPT {reply}") if isinstance(reply, NoScriptError) else reply
