"""What a lane has counted, by the server's own numbers: accepted, done, dead and the rest of its events."""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from producers.keys import LaneKeys


async def count_of(redis: Redis, lane: str, event: str) -> int:
    """How often an event was counted in a lane since ever."""
    return int(await redis.hget(LaneKeys(lane).counters, f"{event}:{lane}") or 0)


def counts(redis: Redis, lane: str, event: str, count: int = 1) -> Callable[[], Awaitable[bool]]:
    """For `eventually`: an event was counted so often, and no more."""

    async def condition() -> bool:
        return await count_of(redis, lane, event) == count

    return condition
