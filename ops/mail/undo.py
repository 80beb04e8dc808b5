"""Reasons that were removed from the suppression list, kept aside for ten minutes, and their return."""

from datetime import timedelta
from pathlib import Path

from redis.asyncio import Redis

from ops.jobs.undo import LIFE, undo_key
from producers.keys import MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG
from producers.suppression import LOG_LINES

_RESUPPRESS = (Path(__file__).parent / "scripts" / "resuppress.lua").read_text(encoding="utf-8")


def removed_key(number: str) -> str:
    """Return the key of the HASH of entries before a change, digest to JSON."""
    return f"{undo_key('{mail}', number)}:suppression"


async def read_entry(redis: Redis, digest: str) -> bytes | None:
    """Return an address's entry as it is stored. Raises RedisError, OSError."""
    entry: bytes | None = await redis.hget(MAIL_SUPPRESSION, digest)  # type: ignore[misc]  # typed for both clients
    return entry


async def keep_entry(redis: Redis, number: str, digest: str, entry: bytes | None) -> None:
    """Keep an entry aside after its reasons were removed. Raises RedisError, OSError."""
    if entry is not None:
        await redis.hset(removed_key(number), mapping={digest: entry})  # type: ignore[misc]  # typed for both clients
        await redis.pexpire(removed_key(number), round(LIFE / timedelta(milliseconds=1)))


async def restore_reasons(redis: Redis, number: str, *, by: str) -> tuple[int, int]:
    """Put back the reasons that a change removed; return those put back, and those on the list or over by now.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    keys = [removed_key(number), MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG]
    back, left = await redis.register_script(_RESUPPRESS)(keys=keys, args=[by, LOG_LINES])
    return int(back), int(left)
