"""Changes that may be undone, and whether something is still kept for one.

Undone within ten minutes is what removes: `discard` of a job, `discard` of many, `unsuppress`. Everything else is
refused by name: a cancelled job may have been reported to its sender, a decided mail may have been sent, a session
that was ended must stay so, and holds, limits and orders are changed back by their own opposite.
"""

from collections.abc import Sequence

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from ops.audit.log import AuditEntry
from ops.jobs.undo import undo_key
from ops.mail.undo import removed_key
from producers.keys import LaneKeys

UNDOABLE = frozenset({"discard", "bulk-discard", "unsuppress"})
"""Actions of the audit log."""


async def find_undoable(redis: Redis, entries: Sequence[AuditEntry]) -> frozenset[str]:
    """Return the numbers of those of these changes for which something is kept.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    numbers = [one.number for one in entries if one.action in UNDOABLE]
    async with redis.pipeline(transaction=False) as pipe:
        for number in numbers:
            for key in _keys(number):
                pipe.exists(key)
        found = await pipe.execute()
    each = len(_keys(""))
    return frozenset(number for at, number in enumerate(numbers) if any(found[at * each : (at + 1) * each]))


def _keys(number: str) -> list[str]:
    return [*(undo_key(LaneKeys(group).tag, number) for group in GROUPS), removed_key(number)]
