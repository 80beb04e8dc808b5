"""Holds: a lane that waits because somebody said so, with the reason and until when.

A pause is a hold without an end; it lasts until somebody releases it. While a lane is held, producers go on
filling it and what runs goes on running; nothing more is claimed. A hold that is over ends by itself.

What can go wrong: a hold that cannot be read (written by hand, or by a later version) is shown as one without
an end, because that is how it is to be dealt with: release it. A lane has one hold; a new one replaces it.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from redis.asyncio import Redis

from producers.hold import Hold as Hold, read_hold as read_hold
from producers.keys import LaneKeys

REASON_LIMIT = 200
"""Characters."""
LONGEST = timedelta(days=366)

_SCRIPTS = Path(__file__).parent / "scripts"
_HOLD = (_SCRIPTS / "hold.lua").read_text(encoding="utf-8")
_RELEASE = (_SCRIPTS / "release.lua").read_text(encoding="utf-8")
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


async def hold(redis: Redis, lane: str, *, lasting: timedelta | None, reason: str) -> Hold | None:
    """Hold a lane.

    Args:
        lasting: for how long; None until it is released.
        reason: what people are told.

    Returns:
        The hold; None when the lane was held just so already.

    Raises:
        RedisError, OSError: Redis did not answer; it may or may not be held, and asking again does no harm.

    Example:
        await hold(redis, "mail.bulk", lasting=timedelta(minutes=10), reason="the provider asks for a pause")
    """
    milliseconds = "" if lasting is None else round(lasting / timedelta(milliseconds=1))
    what, until_ms = await redis.register_script(_HOLD)(
        keys=[LaneKeys(lane).holds], args=[lane, milliseconds, reason]
    )
    return Hold(until=_moment(until_ms), reason=reason) if what == b"held" else None


async def release(redis: Redis, lane: str) -> bool:
    """Let a lane go on; False when it was not held."""
    keys = LaneKeys(lane)
    return bool(await redis.register_script(_RELEASE)(keys=[keys.holds, keys.wake], args=[lane]))


def duration(text: str) -> timedelta:
    """A length of time as people type it.

    Raises:
        ValueError: another form, nothing, or more than a year; the message says what is allowed.

    >>> duration("10m")
    datetime.timedelta(seconds=600)
    """
    found = _DURATION.fullmatch(text)
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise ValueError(
            f"{text!r} is not a length of time: a whole number with s, m, h or d, such as 90s, 10m, 2h, 1d; "
            f"at most {LONGEST.days}d"
        )
    return length


def _moment(milliseconds: int) -> datetime | None:
    return None if milliseconds < 0 else datetime.fromtimestamp(milliseconds / 1000, UTC)
