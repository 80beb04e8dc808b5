"""Reader of the data behind the fleet's metrics, in constant time at a million jobs.

Depth, limits and the server are each read by the function that their command uses. A part that the Redis user
may not read is left out: its metrics have no values, and the others stay.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ResponseError

from jobs.lanes import GROUPS
from ops.depth.read import Depth, read_depth
from ops.limits.known import read_limits
from producers.keys import LaneKeys
from producers.limits.limits import LimitState
from producers.rights import missing_right

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """Facts of the Redis server; for a cluster, those of its fullest primary, and the replicas of all."""

    replicas: int
    lag_bytes: int
    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The data behind the fleet's metrics."""

    depth: Depth
    limits: Sequence[LimitState]
    server: RedisServer | None


async def read_fleet(redis: Redis, *, tenant: str, clock_bound: timedelta) -> Fleet:
    """Read the fleet. Raises RedisError, OSError if Redis did not answer."""
    return Fleet(
        depth=await read_depth(redis, tenant=tenant, clock_bound=clock_bound),
        limits=await _permitted(_read_limits(redis), []),
        server=await _permitted(_read_server(redis), None),
    )


async def _permitted(reading: Awaitable[Part], absent: Part) -> Part:
    """Return what was read, or the absent value if the user may not read it."""
    try:
        return await reading
    except ResponseError as error:
        if not missing_right(error):
            raise
        return absent


async def _read_limits(redis: Redis) -> list[LimitState]:
    found: list[LimitState] = []
    for group in GROUPS:
        found += await read_limits(redis, LaneKeys(group))
    return found


async def _read_server(redis: "Redis | RedisCluster") -> RedisServer | None:
    infos: list[Mapping[str, Any]]
    if isinstance(redis, RedisCluster):
        replies = await redis.execute_command("INFO", target_nodes=RedisCluster.PRIMARIES)
        infos = list(replies.values())
    else:
        infos = [await redis.info()]
    return read_server_info(infos)


def read_server_info(infos: Sequence[Mapping[str, Any]]) -> RedisServer | None:
    """Return the facts of INFO's replies of one or several primaries; None without any.

    >>> primary = {"used_memory": 9, "master_repl_offset": 8, "connected_slaves": 1, "slave0": {"offset": 5}}
    >>> read_server_info([primary])
    RedisServer(replicas=1, lag_bytes=3, used_bytes=9, limit_bytes=0)
    """
    if not infos:
        return None
    fullest = max(infos, key=lambda info: int(info.get("used_memory", 0)))
    return RedisServer(
        replicas=sum(int(info.get("connected_slaves", 0)) for info in infos),
        lag_bytes=max(map(_lag, infos)),
        used_bytes=int(fullest.get("used_memory", 0)),
        limit_bytes=int(fullest.get("maxmemory", 0)),
    )


def _lag(info: Mapping[str, Any]) -> int:
    """Return the bytes that the replica furthest behind has not confirmed."""
    offsets = [
        int(facts["offset"])
        for number in range(int(info.get("connected_slaves", 0)))
        if isinstance(facts := info.get(f"slave{number}"), Mapping) and "offset" in facts
    ]
    return max(0, int(info.get("master_repl_offset", 0)) - min(offsets)) if offsets else 0
