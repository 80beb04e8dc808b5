"""Groups of lanes that may hold a job, and the scripts that read them.

An id starts with its group's hash tag, so it names one group. An id without a tag (a stock arq producer may choose
any) is searched in every group.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from ops.lanes.known import known_lanes
from producers.keys import LaneKeys
from producers.link.script import read_script


async def groups_of(redis: Redis, job_id: str) -> list[list[LaneKeys]]:
    """Return the groups of lanes that may hold the job, the most likely first.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    groups: dict[str, list[LaneKeys]] = {}
    for lane in await known_lanes(redis):
        keys = LaneKeys(lane)
        groups.setdefault(keys.tag, []).append(keys)
    named = [group for tag, group in groups.items() if job_id.startswith(tag)]
    return named or list(groups.values())


def script_keys(group: Sequence[LaneKeys], shared: Sequence[str], each: Sequence[str]) -> list[str]:
    """Return the keys of a script: those of the group, then those of each lane.

    >>> script_keys([LaneKeys("reports")], ["counters"], ["dead"])
    ['momentus:{reports}:counters', 'momentus:{reports}:dead:reports']
    """
    found = [getattr(group[0], name) for name in shared]
    return found + [getattr(keys, name) for keys in group for name in each]


async def run_script(
    redis: Redis, script: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]
) -> Any:  # noqa: ANN401  scripts return different types
    """Run a script of this folder.

    Raises:
        RedisError, OSError: Redis did not answer; every change may be repeated.
    """
    return await redis.register_script(_source(script))(keys=keys, args=arguments)


def _source(script: str) -> str:
    return read_script(Path(__file__).parent / "scripts", script)
