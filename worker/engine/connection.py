"""The three connections of a worker: for commands, for the blocking read, and for the renewal thread."""

from arq.connections import ArqRedis
from redis import Redis as BlockingRedis
from redis.asyncio import ConnectionPool, Redis

_CONNECT_SECONDS = 2
_ANSWER_SECONDS = 5
_RENEWAL_SECONDS = 2


def commands(url: str) -> ArqRedis:
    """The pool for everything but blocking reads; what arq calls ``ctx["redis"]``."""
    pool = ConnectionPool.from_url(url, socket_connect_timeout=_CONNECT_SECONDS, socket_timeout=_ANSWER_SECONDS)
    return ArqRedis(pool)


def listener(url: str) -> Redis:
    """One connection for blocking reads: no answer is normal there, so it has no read timeout."""
    client: Redis = Redis.from_url(url, single_connection_client=True, socket_connect_timeout=_CONNECT_SECONDS)
    return client


def renewal(url: str) -> BlockingRedis:
    """A synchronous client for the renewal thread, with timeouts well below the lease."""
    return BlockingRedis.from_url(url, socket_connect_timeout=_RENEWAL_SECONDS, socket_timeout=_RENEWAL_SECONDS)
