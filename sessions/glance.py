"""A look at a session that costs Redis two plain reads instead of a script: for whoever answers many requests.

    HMGET <session> u e t i d        GET <epoch of the user>

Whose session it is never changes, so after one load the key of the user's epoch is known and both may be asked
for at once. The record is read before the epoch, in that order on one connection: a session that was ended
before the look is seen to be ended. Limits need no clock here: a record lives exactly as long as its limits
say, because every script that writes one gives it that time to live.

What a look cannot do is slide the idle limit; `judge` says when that is due, and then the load is the script's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .token import Place, epoch_key

_FIELDS = ("e", "t", "i", "d")
_SLIDE_AFTER_MS = 60_000
_SLIDE_PART = 30
"""As in load.lua: at most one write per minute, or per thirtieth of the idle limit."""


@dataclass(frozen=True, slots=True)
class Glance:
    """How to look at one known session: two commands, in this order, on one connection.

    Example:
        >>> from sessions.token import mint, place_of
        >>> Glance.at(place_of(mint("u-17")), "u-17").epoch[1]
        'momentus:{s:9370e9b2}:epoch:u-17'
    """

    record: tuple[str, ...] = field(repr=False)
    epoch: tuple[str, str]

    @classmethod
    def at(cls, place: Place, user: str) -> Glance:
        """The look at this place, whose user is known from an earlier load."""
        return cls(("HMGET", place.session_key, *_FIELDS), ("GET", epoch_key(user)))


def judge(record: Sequence[bytes | None], epoch: bytes | None, now_ms: int) -> bytes | None:
    """The session's data as JSON, or None when it must be loaded by the script: it has ended, or is to slide.

    Args:
        record, epoch: the replies to the two commands.
        now_ms: this machine's clock; it decides only how often the limit slides.
    """
    born, touched, idle, data = record
    if born is None or touched is None or idle is None or born != (epoch or b"0"):
        return None
    slide_after = min(_SLIDE_AFTER_MS, int(idle) / _SLIDE_PART)
    return data if now_ms - int(touched) <= slide_after else None
