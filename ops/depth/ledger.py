"""Jobs of the ledger as Redis has them, by lane group: one constant-time count each.

`./run ops ledger check` compares them with Postgres, job by job.
"""

from dataclasses import dataclass

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from producers.keys import LaneKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerDepth:
    """Jobs of the ledger in one lane group.

    Attributes:
        live: number of jobs that have not ended; waiting and leased ones of the lanes include them.
        unrecorded: number of ended jobs whose end no worker has written to Postgres yet.
    """

    group: str
    live: int
    unrecorded: int


async def read_ledger(redis: Redis) -> tuple[LedgerDepth, ...]:
    """Return the groups that have jobs of the ledger. Raises RedisError, OSError."""
    found: list[LedgerDepth] = []
    for group in GROUPS:
        keys = LaneKeys(group)
        live = await redis.hlen(keys.ledger)  # type: ignore[misc]  # typed for both clients
        unrecorded = await redis.hlen(keys.ended)  # type: ignore[misc]  # as above
        if live or unrecorded:
            found.append(LedgerDepth(group=group, live=live, unrecorded=unrecorded))
    return tuple(found)
