"""A session looked at by plain reads instead of a script: for a reader, which may write no session.

    HMGET <session> e t i a d        GET <epoch of the user>

Whose session it is never changes, so once that is known both may be asked for at once. The record is read before
the epoch, in that order on one connection: a session that was ended before the look is seen to be ended. Limits
need no clock here: a record lives exactly as long as its limits say, because whatever writes one gives it that
time to live.

A use of the session slides its idle limit by the key's time to live alone: `QuickLoad.slide`. Of a look that found
nothing, `read` says for sure what became of the session, and follows a token in its grace.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import SessionsUnavailable
from .token import SessionPlace, epoch_key

_FIELDS = ("e", "t", "i", "a", "d")
_SLIDE_AFTER_MS = 60_000
_SLIDE_PART = 30
"""As in load.lua: at most one write per minute, or per thirtieth of the idle limit."""

Record = Sequence[bytes | None]
"""The reply to a look: epoch of birth, last touch, idle limit, absolute end, data."""
Ask = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class QuickLoad:
    """How to look at one known session: two commands, in this order, on one connection.

    Example:
        >>> from sessions.token import mint, place_of
        >>> QuickLoad.at(place_of(mint("u-17")), "u-17").epoch[1]
        'momentus:{s:9370e9b2}:epoch:u-17'
    """

    record: tuple[str, ...] = field(repr=False)
    epoch: tuple[str, str]

    @classmethod
    def at(cls, place: SessionPlace, user: str) -> QuickLoad:
        """The look at this place, whose user is known from an earlier one."""
        return cls(("HMGET", place.session_key, *_FIELDS), ("GET", epoch_key(user)))

    def slide(self, record: Record) -> list[tuple[str | bytes, ...]]:
        """Commands that count a use: a full idle limit from now on, and never past the absolute end."""
        _, _, idle, ends, _ = record
        key = self.record[1]
        return [("PEXPIRE", key, idle or b"0"), ("PEXPIREAT", key, ends or b"0", "LT")]


def living(record: Record, epoch: bytes | None) -> bytes | None:
    """The session's data as JSON, or None: it has ended, or its token was replaced."""
    born = record[0]
    return record[4] if born is not None and born == (epoch or b"0") else None


def is_due(record: Record, slid_ms: int, now_ms: int) -> bool:
    """Whether a use is to slide the idle limit.

    Args:
        slid_ms: when this process slid it last.
        now_ms: this machine's clock; it decides only how often the limit slides.

    Raises:
        SessionsUnavailable: the record is not in the sessions' format.
    """
    try:
        waited, idle = now_ms - int(record[1] or b""), int(record[2] or b"")
    except ValueError as error:
        raise SessionsUnavailable(f"a session's times are no numbers: {error}") from error
    due_after = min(_SLIDE_AFTER_MS, idle / _SLIDE_PART)
    return waited > due_after and now_ms - slid_ms > due_after


def is_over(record: Record, now_ms: int) -> bool:
    """Whether a remembered session's absolute end has passed, by this machine's clock.

    Raises:
        SessionsUnavailable: the record is not in the sessions' format.
    """
    try:
        return now_ms >= int(record[3] or b"0")
    except ValueError as error:
        raise SessionsUnavailable(f"a session's end is no number: {error}") from error


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """A living session: where it is kept, whose it is, and its record."""

    place: SessionPlace
    user: str = field(repr=False)
    record: Record = field(repr=False)


def first_look(place: SessionPlace) -> tuple[str, ...]:
    """The command whose reply `read` begins with."""
    return ("HMGET", place.session_key, *_FIELDS, "u", "n", "g")


async def read(ask: Ask, place: SessionPlace, reply: Record) -> LiveRecord | None:
    """Find a session by reads alone, with a token in its grace where that leads.

    Args:
        ask: sends a command and returns its reply; raises what it raises.
        reply: to `first_look`.

    Raises:
        SessionsUnavailable: what is stored is not in the sessions' format.
    """
    *record, user, following, opens_until = reply
    while user is None:
        if following is None or not await _is_open(ask, opens_until):
            return None
        place = SessionPlace(place.tag, following.decode())
        *record, user, following, opens_until = await ask(*first_look(place))
    try:
        name = user.decode()
    except UnicodeDecodeError as error:
        raise SessionsUnavailable("a session's user is no text") from error
    epoch = await ask("GET", epoch_key(name))
    return None if living(record, epoch) is None else LiveRecord(place, name, record)


async def _is_open(ask: Ask, until: bytes | None) -> bool:
    """Whether a grace lasts, by Redis's clock."""
    if until is None:
        return True
    seconds, microseconds = await ask("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000 < int(until)
