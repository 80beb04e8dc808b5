"""The heartbeat of a worker, sent every few seconds: host, process and the load of its lanes."""

import math
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import orjson
from redis.exceptions import RedisError

import background
from producers.keys import LaneKeys
from producers.link.command import Argument
from producers.link.links import script_of
from producers.link.sync import Calls, is_unknown_script
from producers.send_options import milliseconds
from worker.engine.dataset import DataSet
from worker.engine.lane import Lane
from worker.engine.store import engine_script
from worker.fleet_keys import order_key, schedules_key
from worker.troubles import TROUBLES, Trouble

_MISSED_BEATS = 5
"""Number of missed heartbeats after which a worker is no longer listed."""
_NOTED_EVERY_MS: Final = 2500
"""Least time between two notes of a lane's flow; at the default pace each heartbeat adds one."""
_NOTES_KEPT: Final = 60


def send_heartbeat(
    link: Calls,
    worker_id: str,
    lanes: Iterable[Lane],
    data: Mapping[str, DataSet],
    *,
    every: timedelta,
    room: float = math.inf,
    state: Mapping[str, object],
    schedules: Mapping[str, bytes],
) -> dict[str, bytes | None]:
    """Send the heartbeat of each lane group, with Redis's time, and read its number of unfinished jobs.

    With it the flow of each lane is noted, from which `ops depth` forecasts.

    Args:
        room: free slots under the ceiling of all lanes; infinity without one.
        state: further facts about the worker.
        schedules: the declarations of its crons, by the tags of their groups.

    Returns:
        The order to this worker that each group has, by its tag.
    """
    life_ms = milliseconds(every * _MISSED_BEATS)
    seconds, microseconds = map(int, link.call("TIME"))
    now = seconds * 1000 + microseconds // 1000
    fault, orders = None, dict[str, bytes | None]()
    for members in _groups(lanes):
        keys = members[0].keys
        replies = link.call_many(
            [
                ("SET", keys.worker(worker_id), _facts(members, room, state), "PX", life_ms),
                ("ZADD", keys.workers, now, worker_id),
                ("ZREMRANGEBYSCORE", keys.workers, "-inf", now - life_ms),
                ("HGET", keys.dataset, "id"),
                ("GET", order_key(keys, worker_id)),
                *[("ZCARD", lane.keys.queue) for lane in members],
                *_declaration(keys, worker_id, schedules, life_ms),
                _flow_command(members),
            ]
        )
        if is_unknown_script(replies[-1]):  # the next heartbeat runs it
            replies[-1] = link.call("SCRIPT", "LOAD", engine_script("note_flow"))
        refusals = [reply for reply in replies if isinstance(reply, RedisError)]
        if refusals:  # the other groups still get theirs
            fault = fault or refusals[0]
            continue
        _, _, _, data_id, orders[keys.tag], *rest = replies
        _note(data[keys.tag], data_id, rest[: len(members)])
    if fault:
        raise fault
    return orders


def remove_heartbeat(link: Calls, worker_id: str, lanes: Iterable[Lane]) -> None:
    """Remove the heartbeat of a worker that has shut down properly."""
    for members in _groups(lanes):
        keys = members[0].keys
        link.call("DEL", keys.worker(worker_id), order_key(keys, worker_id), schedules_key(keys, worker_id))
        link.call("ZREM", keys.workers, worker_id)


def _declaration(
    keys: LaneKeys, worker_id: str, schedules: Mapping[str, bytes], life_ms: int
) -> list[tuple[Argument, ...]]:
    """Return the command that declares the crons of a group; none for a group without crons."""
    declared = schedules.get(keys.tag)
    return [] if declared is None else [("SET", schedules_key(keys, worker_id), declared, "PX", life_ms)]


def _flow_command(members: list[Lane]) -> Sequence[Argument]:
    """Return the command that notes the flow of the lanes."""
    keys = [members[0].keys.counters, *(lane.keys.queue for lane in members)]
    names = [lane.name for lane in members]
    arguments: list[Argument] = [members[0].keys.tag, _NOTED_EVERY_MS, _NOTES_KEPT, *names]
    return script_of(engine_script("note_flow")).command(keys, arguments)


def _note(data: DataSet, found: bytes | None, lengths: list[int]) -> None:
    """Store the number of unfinished jobs, if Redis holds the data that the worker knows."""
    if found is not None and found.decode() == data.id:
        data.unfinished = sum(lengths)


def _groups(lanes: Iterable[Lane]) -> Iterable[list[Lane]]:
    groups: dict[str, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(lane.keys.tag, []).append(lane)
    return groups.values()


def _facts(lanes: list[Lane], room: float, state: Mapping[str, object]) -> bytes:
    states = {lane.name: _state(lane) for lane in lanes}
    facts: dict[str, object] = {"host": socket.gethostname(), "pid": os.getpid(), "lanes": states, **state}
    if room < math.inf:
        facts["room"] = max(0, int(room))
    if background.FAULTS:
        facts["faults"] = dict(background.FAULTS)
    if troubles := dict(TROUBLES):
        facts["troubles"] = {part: _trouble(one) for part, one in troubles.items()}
    return orjson.dumps(facts)


def _trouble(trouble: Trouble) -> dict[str, object]:
    return {"error": trouble.error, "for_s": round(time.monotonic() - trouble.since)}


def _state(lane: Lane) -> dict[str, int]:
    state = {"busy": len(lane.running), "slots": lane.slots}
    if lane.left_behind:
        state["left_behind"] = lane.left_behind
    return state
