"""Crons as values: jobs at scheduled times, the request of one tick, and their declaration for operators.

A worker declares its crons with each heartbeat (`schedules_key`), so that operators see those of live workers and
may request a tick themselves, by the same script.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from jobs.schedule import Schedule
from producers.envelope import write_envelope
from producers.keys import LaneKeys
from producers.link import Argument
from producers.link.script import Script, read_script

_TICK = Script(read_script(Path(__file__).parent / "scripts", "tick"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A job with a schedule.

    Attributes:
        name: must not change; the last tick is stored under it.
        kind, lane, payload: the job.
        overlap: True if a tick may be queued while the job of the previous tick waits or runs.
        version: of the payload.
    """

    name: str
    schedule: Schedule
    kind: str
    lane: str
    payload: Mapping[str, object] = field(repr=False)
    overlap: bool = False
    version: int = 1


async def queue_tick(call: Callable[..., Awaitable[Any]], cron: Cron, tick: datetime) -> int:
    """Request one tick.

    Args:
        call: sends one command to Redis.

    Returns:
        1: queued; 0: an earlier call queued it or a later one; -1: the job of the previous tick has not ended.

    Raises:
        RedisError, OSError: Redis did not answer; the call may be repeated.
    """
    keys = LaneKeys(cron.lane)
    stamp = round(tick.timestamp() * 1000)
    # Without overlap all ticks share one id, which is in use while the job of one of them is unfinished.
    job_id = f"{keys.tag}cron:{cron.name}" + (f":{stamp}" if cron.overlap else "")
    payload = write_envelope(cron.kind, cron.payload, enqueued_ms=stamp, payload_version=cron.version)
    names = [keys.queue, keys.wake, keys.counters, keys.crons, f"arq:job:{job_id}", keys.dead]
    alone = int(not cron.overlap)
    arguments: list[Argument] = [cron.lane, keys.tag, cron.name, stamp, job_id, payload, alone]
    return int(await _TICK.run(call, names, arguments))


def write_crons(crons: Sequence[Cron]) -> bytes:
    """Return the declaration of crons, a JSON array of objects with the attributes of :class:`Cron`."""
    return orjson.dumps([asdict(one) for one in crons], default=sorted)


def read_crons(declared: bytes) -> list[Cron]:
    """Read a declaration; one that cannot be read (edited by hand, or by a later version) has no crons."""
    try:
        crons = [Cron(**{**one, "schedule": Schedule(**one["schedule"])}) for one in orjson.loads(declared)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
    return crons if all(_is_whole(one) for one in crons) else []


def _is_whole(cron: Cron) -> bool:
    """Return True if the fields have their types, which no constructor checks."""
    texts = (cron.name, cron.kind, cron.lane)
    return all(isinstance(one, str) for one in texts) and isinstance(cron.payload, dict)


def declare_crons(crons: Sequence[Cron]) -> dict[str, bytes]:
    """Return the declarations of the lane groups that have crons, by their tags."""
    tags = {LaneKeys(one.lane).tag for one in crons}
    return {tag: write_crons([one for one in crons if LaneKeys(one.lane).tag == tag]) for tag in tags}
