"""Keys of the queue with a wrong type, written by another application in this database. It only reads.

Such a key stops its lane, or all lanes of its group, until an operator removes it. Redis's own error does not name
it.
"""

from redis.asyncio import Redis

from ops.lanes.known import known_lanes
from producers.key_types import key_types, wrong_key
from producers.keys import LaneKeys


async def wrong_keys(redis: Redis) -> list[str]:
    """Return one sentence for each key of a wrong type.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    types = {
        key: expected for lane in await known_lanes(redis) for key, expected in key_types(LaneKeys(lane)).items()
    }
    found = [wrong_key(key, expected, (await redis.type(key)).decode()) for key, expected in types.items()]
    return [text for text in found if text]
