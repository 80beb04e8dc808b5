"""Acknowledgement of a data loss of Redis.

`depth` and `doctor` report the loss until an operator acknowledges it.
"""

import argparse
from collections.abc import Mapping

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from ops.command import Command, CommandResult, Tools
from ops.language import Language
from producers.keys import LaneKeys

_FIELDS = ("losses", "lost_ms", "lost_jobs")
"""The fields in which `worker/engine/scripts/dataset.lua` stores a loss."""
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {"acknowledged": "Acknowledged: {losses}.", "none": "There was no loss to acknowledge."},
    "es": {"acknowledged": "Atendidas: {losses}.", "none": "No había ninguna pérdida que atender."},
}


async def acknowledge_losses(redis: Redis) -> Mapping[str, int]:
    """Clear the losses of all lane groups; return their numbers by hash tag, of groups that had any.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    found: dict[str, int] = {}
    for keys in map(LaneKeys, GROUPS):
        async with redis.pipeline() as pipe:
            pipe.hget(keys.dataset, "losses")
            pipe.hdel(keys.dataset, *_FIELDS)
            losses, _ = await pipe.execute()
        if losses:
            found[keys.tag] = int(losses)
    return found


async def _acknowledge(tools: Tools, _: argparse.Namespace) -> CommandResult:
    found = await acknowledge_losses(tools.redis)
    text, words = ", ".join(f"{tag} {losses}" for tag, losses in found.items()), WORDS[tools.language]
    return CommandResult(
        words["acknowledged"].format(losses=text) if found else words["none"],
        {"acknowledged": found},
        done=bool(found),
    )


ACKNOWLEDGE_LOSS = Command(
    "acknowledge-loss",
    "stop reporting a loss of Redis's data, once it is dealt with",
    "acknowledge-loss",
    lambda _: None,
    _acknowledge,
)
