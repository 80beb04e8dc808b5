"""Connections of a worker: a redis-py client for handlers and arq, and a link for the renewal thread.

Commands that move jobs use links (:mod:`producers.link`). Clients and links both find the primary on their own.
"""

from typing import cast

from arq.connections import ArqRedis, RedisSettings
from redis.asyncio import BlockingConnectionPool, RedisCluster

from producers.link.address import read_address
from producers.link.client import connect, open_pool
from producers.link.sync import SyncLink

_ANSWER_SECONDS = 5


def open_redis(url: str) -> ArqRedis:
    """Return the client for arq's ``ctx["redis"]``; on a cluster a ``RedisCluster``, without arq's own methods."""
    if read_address(url).cluster:
        return cast("ArqRedis", connect(url, seconds=_ANSWER_SECONDS))
    pool = open_pool(url, seconds=_ANSWER_SECONDS, kind=BlockingConnectionPool, timeout=_ANSWER_SECONDS)
    return ArqRedis(pool)


async def close_redis(redis: "ArqRedis | RedisCluster") -> None:
    """Close the client with all its connections."""
    if isinstance(redis, RedisCluster):
        await redis.aclose()
    else:
        await redis.aclose(close_connection_pool=True)


def open_renewal_link(url: str, tag: str = "") -> SyncLink:
    """Return a synchronous link for the renewal thread, to be used within a deadline."""
    return SyncLink(read_address(url), tag)


def arq_settings(url: str) -> RedisSettings:
    """Return the settings that arq's class stores; the functions above make the actual connections."""
    return RedisSettings() if read_address(url).asked else RedisSettings.from_dsn(url)
