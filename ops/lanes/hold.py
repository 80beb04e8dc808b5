"""Holds of lanes: an operator stops claims from a lane, with a reason and optionally an end.

A pause is a hold without an end; it lasts until an operator releases it. While a lane is held, producers still add
jobs and running jobs continue; workers claim no more. A hold with an end ends without further action.

Errors: a hold that cannot be read (written by hand, or by a later version) is shown as one without an end, because
it has the same remedy: release it. A lane has one hold; a new one replaces it.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis.asyncio import Redis

from producers.keys import LaneKeys
from producers.limits.hold import Hold as Hold, read_hold as read_hold

REASON_LIMIT = 200
"""Largest number of characters of a reason."""

_SCRIPTS = Path(__file__).parent / "scripts"
_HOLD = (_SCRIPTS / "hold.lua").read_text(encoding="utf-8")
_RELEASE = (_SCRIPTS / "release.lua").read_text(encoding="utf-8")


async def hold_lane(redis: Redis, lane: str, *, lasting: timedelta | None, reason: str) -> Hold | None:
    """Hold a lane.

    Args:
        lasting: the duration; None: until it is released.
        reason: the text that operators see.

    Returns:
        The hold; None if the lane already had the same hold.

    Raises:
        RedisError, OSError: Redis did not answer; it may or may not be held, and a second call is harmless.

    Example:
        await hold(redis, "mail.bulk", lasting=timedelta(minutes=10), reason="the provider asks for a pause")
    """
    milliseconds = "" if lasting is None else round(lasting / timedelta(milliseconds=1))
    what, until_ms = await redis.register_script(_HOLD)(
        keys=[LaneKeys(lane).holds], args=[lane, milliseconds, reason]
    )
    return Hold(until=_moment(until_ms), reason=reason) if what == b"held" else None


async def release_lane(redis: Redis, lane: str) -> bool:
    """Release a lane; return False if it was not held."""
    keys = LaneKeys(lane)
    return bool(await redis.register_script(_RELEASE)(keys=[keys.holds, keys.wake], args=[lane]))


def _moment(milliseconds: int) -> datetime | None:
    return None if milliseconds < 0 else datetime.fromtimestamp(milliseconds / 1000, UTC)
