"""Jobs of the ledger in Redis, by lane group: a constant-time count each.

`./run ops ledger check` compares them with Postgres, job by job. Ends wait in Redis for a recorder; how long they
have waited is read from a hundred of them, and is unknown to a user without the right to read replies.
"""

from dataclasses import asdict, dataclass

import orjson
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from ledger.groups import LEDGER_GROUPS
from ops.shared_reads import read_together
from producers.keys import LaneKeys
from producers.rights import missing_right

_SAMPLE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerDepth:
    """Jobs of the ledger in one lane group.

    Attributes:
        live: number of jobs that have not ended; waiting and leased ones of the lanes include them.
        unrecorded: number of ended jobs whose end no worker has written to Postgres yet.
        unrecorded_ms: the time since the oldest of them ended, among a hundred; None if it is not known.
    """

    group: str
    live: int
    unrecorded: int
    unrecorded_ms: int | None = None

    def to_json(self) -> dict[str, str | int]:
        """Return plain values, without those that are not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


async def read_ledger(redis: Redis, *, now_ms: int) -> tuple[LedgerDepth, ...]:
    """Return the groups that have jobs of the ledger.

    Args:
        now_ms: by Redis's clock.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    groups = await read_together(*(_read_group(redis, group, now_ms) for group in LEDGER_GROUPS))
    return tuple(one for one in groups if one is not None)


async def _read_group(redis: Redis, group: str, now_ms: int) -> LedgerDepth | None:
    keys = LaneKeys(group)
    async with redis.pipeline(transaction=False) as pipeline:  # the console may not send MULTI
        pipeline.hlen(keys.ledger)
        pipeline.hlen(keys.ended)
        live, unrecorded = await pipeline.execute()
    if not live and not unrecorded:
        return None
    ended_ms = await _oldest_end(redis, keys.ended) if unrecorded else None
    waited_ms = None if ended_ms is None else max(0, now_ms - ended_ms)
    return LedgerDepth(group=group, live=live, unrecorded=unrecorded, unrecorded_ms=waited_ms)


async def _oldest_end(redis: Redis, key: str) -> int | None:
    """Return when the oldest of a hundred ends was (ms); None without the right to read them."""
    try:
        _, ends = await redis.hscan(key, count=_SAMPLE)
    except ResponseError as error:
        if missing_right(error):
            return None
        raise
    return min((at for at in map(_instant, ends.values()) if at), default=None)


def _instant(end: bytes) -> int:
    try:
        return int(orjson.loads(end)["at_ms"])
    except (ValueError, TypeError, KeyError):
        return 0
