"""Acknowledge that Redis lost its data: `depth` and `doctor` say it until somebody does."""

import argparse
from collections.abc import Mapping

from redis.asyncio import Redis

from jobs.lanes import LANES
from ops.command import Command, CommandResult, Tools
from producers.keys import LaneKeys

_FIELDS = ("losses", "lost_ms", "lost_jobs")
"""What `worker/engine/scripts/dataset.lua` stores of a loss."""


async def acknowledge_losses(redis: Redis) -> Mapping[str, int]:
    """Forget the losses of all lane groups; how many there were, by hash tag, of those that had any.

    Raises:
        RedisError, OSError: Redis did not answer; asking again does no harm.
    """
    found: dict[str, int] = {}
    for keys in {LaneKeys(lane).tag: LaneKeys(lane) for lane in LANES}.values():
        async with redis.pipeline() as pipe:
            pipe.hget(keys.dataset, "losses")
            pipe.hdel(keys.dataset, *_FIELDS)
            losses, _ = await pipe.execute()
        if losses:
            found[keys.tag] = int(losses)
    return found


async def _acknowledge(tools: Tools, _: argparse.Namespace) -> CommandResult:
    found = await acknowledge_losses(tools.redis)
    text = ", ".join(f"{tag} {losses}" for tag, losses in found.items())
    return CommandResult(
        f"Acknowledged: {text}." if found else "There was no loss to acknowledge.",
        {"acknowledged": found},
        done=bool(found),
    )


ACKNOWLEDGE_LOSS = Command(
    "acknowledge-loss",
    "stop showing that Redis lost its data, once that is dealt with",
    "acknowledge-loss",
    lambda _: None,
    _acknowledge,
)
