"""The redis-py clients of a worker: for what handlers and arq want of Redis, and for the renewal thread.

What moves jobs goes over links (:mod:`producers.link`). All of them find the primary by themselves.
"""

from typing import cast

from arq.connections import ArqRedis, RedisSettings
from redis import Redis as BlockingRedis
from redis.asyncio import BlockingConnectionPool, RedisCluster

from producers.link.address import read_address
from producers.link.client import connect, open_pool
from producers.link.sync import open_client

_ANSWER_SECONDS = 5


def commands(url: str) -> ArqRedis:
    """What arq calls ``ctx["redis"]``; on a cluster a ``RedisCluster``, which has none of arq's own calls."""
    if read_address(url).cluster:
        return cast("ArqRedis", connect(url, seconds=_ANSWER_SECONDS))
    pool = open_pool(url, seconds=_ANSWER_SECONDS, kind=BlockingConnectionPool, timeout=_ANSWER_SECONDS)
    return ArqRedis(pool)


async def close(redis: ArqRedis) -> None:
    """Close it with all its connections."""
    if isinstance(redis, RedisCluster):
        await redis.aclose()
    else:
        await redis.aclose(close_connection_pool=True)


def renewal(url: str, tag: str = "") -> BlockingRedis:
    """A synchronous client for the renewal thread, to be used within a deadline."""
    client, _ = open_client(read_address(url), tag)
    return client


def arq_settings(url: str) -> RedisSettings:
    """What arq's class keeps of the address; our connections are made above."""
    return RedisSettings() if read_address(url).asked else RedisSettings.from_dsn(url)
