"""What a worker tells about itself every few seconds: who it is and how full its lanes are."""

import os
import socket
from collections.abc import Iterable

import orjson
from redis import Redis

from worker.engine.lane import Lane

_LIFE_MS = 15_000


def report(redis: Redis, worker_id: str, lanes: Iterable[Lane]) -> None:
    """Send the heartbeat, once for each lane group, by Redis's clock."""
    seconds, microseconds = redis.time()  # type: ignore[misc]  # redis-py types one method for both clients
    now = seconds * 1000 + microseconds // 1000
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.keys.tag, []).append(lane)
    for members in groups.values():
        keys = members[0].keys
        pipe = redis.pipeline(transaction=False)
        pipe.set(keys.worker(worker_id), _facts(members), px=_LIFE_MS)
        pipe.zadd(keys.workers, {worker_id: now})
        pipe.zremrangebyscore(keys.workers, "-inf", now - _LIFE_MS)
        pipe.execute()


def _facts(lanes: list[Lane]) -> bytes:
    busy = {lane.name: {"busy": len(lane.running), "slots": lane.slots} for lane in lanes}
    return orjson.dumps({"host": socket.gethostname(), "pid": os.getpid(), "lanes": busy})
