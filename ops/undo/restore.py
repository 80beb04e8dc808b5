"""Changes that may be undone, and whether something is still kept for one.

Only removals can be undone, within ten minutes: `discard` of a job, `discard` of many, `unsuppress`. Everything
else is refused by name: a cancelled job may have been reported to its sender, a decided mail may have been sent, a
session that was ended must stay ended, and holds, limits and orders are changed back by their own opposite.
"""

from collections.abc import Sequence

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from ops.audit.log import AuditEntry
from ops.jobs.undo import undo_key
from ops.mail.undo import removed_key
from producers.keys import LaneKeys, tag_of

UNDOABLE = frozenset({"discard", "bulk-discard", "unsuppress"})
"""Actions of the audit log that can be undone."""


async def find_undoable(redis: Redis, entries: Sequence[AuditEntry]) -> frozenset[str]:
    """Return the numbers of those of these changes for which something is kept.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    numbers = [one.number for one in entries if one.action in UNDOABLE]
    keeping = [(number, undo_key(LaneKeys(group).tag, number)) for group in GROUPS for number in numbers]
    keeping += [(number, removed_key(number)) for number in numbers]
    found = set[str]()
    for tag in {tag_of(key) for _, key in keeping}:  # on a cluster each has a primary of its own
        some = [(number, key) for number, key in keeping if tag_of(key) == tag]
        async with redis.pipeline(transaction=False) as pipe:
            for _, key in some:
                pipe.exists(key)
            there = await pipe.execute()
        found |= {number for (number, _), exists in zip(some, there, strict=True) if exists}
    return frozenset(found)
