"""The heartbeat of a worker, sent every few seconds: host, process and the load of its lanes."""

import os
import socket
from collections.abc import Iterable, Mapping
from datetime import timedelta

import orjson
from redis import Redis
from redis.exceptions import ResponseError

import background
from worker.engine.dataset import DataSet
from worker.engine.lane import Lane
from worker.engine.store import milliseconds

_MISSED_BEATS = 5
"""Number of missed heartbeats after which a worker is no longer listed."""


def send_heartbeat(
    redis: Redis, worker_id: str, lanes: Iterable[Lane], data: Mapping[str, DataSet], *, every: timedelta
) -> None:
    """Send the heartbeat of each lane group, with Redis's time, and read its number of unfinished jobs."""
    life_ms = milliseconds(every * _MISSED_BEATS)
    seconds, microseconds = redis.time()  # type: ignore[misc]  # redis-py types one method for both clients
    now = seconds * 1000 + microseconds // 1000
    fault = None
    for members in _groups(lanes):
        keys = members[0].keys
        pipe = redis.pipeline(transaction=False)
        pipe.set(keys.worker(worker_id), _facts(members), px=life_ms)
        pipe.zadd(keys.workers, {worker_id: now})
        pipe.zremrangebyscore(keys.workers, "-inf", now - life_ms)
        pipe.hget(keys.dataset, "id")
        for lane in members:
            pipe.zcard(lane.keys.queue)
        try:
            _, _, _, data_id, *lengths = pipe.execute()
            _note(data[keys.tag], data_id, lengths)
        except ResponseError as error:  # the other groups still get theirs
            fault = fault or error
    if fault:
        raise fault


def remove_heartbeat(redis: Redis, worker_id: str, lanes: Iterable[Lane]) -> None:
    """Remove the heartbeat of a worker that has shut down properly."""
    for members in _groups(lanes):
        keys = members[0].keys
        redis.delete(keys.worker(worker_id))
        redis.zrem(keys.workers, worker_id)


def _note(data: DataSet, found: bytes | None, lengths: list[int]) -> None:
    """Store the number of unfinished jobs, if Redis holds the data that the worker knows."""
    if found is not None and found.decode() == data.id:
        data.unfinished = sum(lengths)


def _groups(lanes: Iterable[Lane]) -> Iterable[list[Lane]]:
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.keys.tag, []).append(lane)
    return groups.values()


def _facts(lanes: list[Lane]) -> bytes:
    busy = {lane.name: {"busy": len(lane.running), "slots": lane.slots} for lane in lanes}
    facts: dict[str, object] = {"host": socket.gethostname(), "pid": os.getpid(), "lanes": busy}
    if background.FAULTS:
        facts["faults"] = dict(background.FAULTS)
    return orjson.dumps(facts)
