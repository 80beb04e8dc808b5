"""Which keys of the queue hold something else: whatever else writes to this database wrote it. It only reads.

Such a key stops its lane, or all lanes of its group, until people remove it. Redis's own error does not name it.
"""

from redis.asyncio import Redis

from jobs.lanes import LANES
from producers.key_types import key_types, wrong_key
from producers.keys import LaneKeys


async def wrong_keys(redis: Redis) -> list[str]:
    """In words, one for each such key.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    types = {key: expected for lane in LANES for key, expected in key_types(LaneKeys(lane)).items()}
    found = [wrong_key(key, expected, (await redis.type(key)).decode()) for key, expected in types.items()]
    return [words for words in found if words]
