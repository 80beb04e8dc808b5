"""Load of a session by plain reads instead of a script: for a reader, which may not write sessions.

    HMGET <session> e t i a d        GET <epoch of the user>

A session's user never changes, so once the user is known both commands are sent at once. The record is read before
the epoch, in that order on one connection, so a session that ended before the load is found ended. Limits need no
clock here: every write of a record sets its time to live to its limits, so Redis deletes it when they pass.

A use of the session extends its idle limit through the key's time to live only: `QuickLoad.extension`. After a
load that found no session, `load_by_reads` gives the definite result, and follows a token in its grace.
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
"""Parts of the idle limit, as in load.lua: at most one write per minute, or per thirtieth of the limit."""

Record = Sequence[bytes | None]
"""Reply to the first command: epoch at creation, last touch, idle limit, absolute end, data."""
Ask = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class QuickLoad:
    """Commands that load a session of a known user: two, in this order, on one connection.

    Example:
        >>> from sessions.token import new_token, place_of
        >>> QuickLoad.at_place(place_of(new_token("u-17")), "u-17").epoch[1]
        'momentus:{s:9370e9b2}:epoch:u-17'
    """

    record: tuple[str, ...] = field(repr=False)
    epoch: tuple[str, str]

    @classmethod
    def at_place(cls, place: SessionPlace, user: str) -> QuickLoad:
        """Return the commands for a place whose user is known from an earlier load."""
        return cls(("HMGET", place.session_key, *_FIELDS), ("GET", epoch_key(user)))

    def extension(self, record: Record) -> list[tuple[str | bytes, ...]]:
        """Return the commands that extend the session: a full idle limit from now, at most to the absolute end."""
        _, _, idle, ends, _ = record
        key = self.record[1]
        return [("PEXPIRE", key, idle or b"0"), ("PEXPIREAT", key, ends or b"0", "LT")]


def live_data(record: Record, epoch: bytes | None) -> bytes | None:
    """Return the session's data as JSON, or None if it has ended or its token was replaced."""
    born = record[0]
    return record[4] if born is not None and born == (epoch or b"0") else None


def is_due(record: Record, slid_ms: int, now_ms: int) -> bool:
    """Return True if a use must extend the idle limit now.

    Args:
        slid_ms: time of this process's last extension.
        now_ms: this machine's clock; it decides only how often the limit is extended.

    Raises:
        SessionsUnavailable: the record is not in the sessions' format.
    """
    try:
        waited, idle = now_ms - int(record[1] or b""), int(record[2] or b"")
    except ValueError as error:
        raise SessionsUnavailable(f"session record: its times are not numbers ({error})") from error
    due_after = min(_SLIDE_AFTER_MS, idle / _SLIDE_PART)
    return waited > due_after and now_ms - slid_ms > due_after


def is_over(record: Record, now_ms: int) -> bool:
    """Return True if a cached session's absolute end has passed, by this machine's clock.

    Raises:
        SessionsUnavailable: the record is not in the sessions' format.
    """
    try:
        return now_ms >= int(record[3] or b"0")
    except ValueError as error:
        raise SessionsUnavailable(f"session record: its expiry is not a number ({error})") from error


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """A live session: its place, its user and its record."""

    place: SessionPlace
    user: str = field(repr=False)
    record: Record = field(repr=False)


def first_look(place: SessionPlace) -> tuple[str, ...]:
    """Return the first command of a load without a known user; `load_by_reads` takes its reply."""
    return ("HMGET", place.session_key, *_FIELDS, "u", "n", "g")


async def load_by_reads(ask: Ask, place: SessionPlace, reply: Record) -> LiveRecord | None:
    """Load a session by reads only, following a token in its grace; None if there is no live session.

    Args:
        ask: sends a command and returns its reply; its errors are raised.
        reply: reply to `first_look`.

    Raises:
        SessionsUnavailable: the record is not in the sessions' format.
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
        raise SessionsUnavailable("session record: its user is not valid UTF-8") from error
    epoch = await ask("GET", epoch_key(name))
    return None if live_data(record, epoch) is None else LiveRecord(place, name, record)


async def _is_open(ask: Ask, until: bytes | None) -> bool:
    """Return True if a token's grace has not passed, by Redis's clock."""
    if until is None:
        return True
    seconds, microseconds = await ask("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000 < int(until)
