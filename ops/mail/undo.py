"""Reasons that were removed from the suppression list, kept aside for ten minutes, and their return."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from ops.jobs.undo import LIFE, undo_key
from producers.keys import MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG
from producers.suppression import LOG_LINES

_RESUPPRESS = (Path(__file__).parent / "scripts" / "resuppress.lua").read_text(encoding="utf-8")


def removed_key(number: str) -> str:
    """Return the key of the HASH of the removed reasons of a change: digest to JSON, see `suppress.lua`."""
    return f"{undo_key('{mail}', number)}:suppression"


async def read_entry(redis: Redis, digest: str) -> bytes | None:
    """Return an address's entry as it is stored. Raises RedisError, OSError."""
    entry: bytes | None = await redis.hget(MAIL_SUPPRESSION, digest)  # type: ignore[misc]  # typed for both clients
    return entry


async def keep_removed(redis: Redis, number: str, digest: str, before: bytes | None, after: bytes | None) -> None:
    """Keep aside the reasons that an entry has lost, beside those that this change removed from it earlier.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    entry, left = _read(before), _read(after)["reasons"]
    removed = {name: one for name, one in entry["reasons"].items() if name not in left}
    if not removed:
        return
    key = removed_key(number)
    earlier: bytes | None = await redis.hget(key, digest)  # type: ignore[misc]  # typed for both clients
    kept = orjson.dumps({**entry, "reasons": {**_read(earlier)["reasons"], **removed}})
    await redis.hset(key, mapping={digest: kept})  # type: ignore[misc]  # typed for both clients
    await redis.pexpire(key, round(LIFE / timedelta(milliseconds=1)))


def _read(stored: bytes | None) -> dict[str, Any]:
    """Return an entry; one without reasons if it is absent or cannot be read."""
    try:
        entry: dict[str, Any] = orjson.loads(stored or b"")
        return {**entry, "reasons": dict(entry["reasons"])}
    except (ValueError, TypeError, KeyError):
        return {"reasons": {}}


async def restore_reasons(redis: Redis, number: str, *, by: str) -> tuple[int, int]:
    """Put back the reasons that a change removed; return those restored, and those listed again or expired by now.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    keys = [removed_key(number), MAIL_SUPPRESSION, MAIL_SUPPRESSION_LOG]
    back, left = await redis.register_script(_RESUPPRESS)(keys=keys, args=[by, LOG_LINES])
    return int(back), int(left)
