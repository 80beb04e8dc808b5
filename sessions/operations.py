"""Operations on sessions as values: the script, its arguments and how to read its reply. No I/O.

`store` runs them with asyncio, `sync` without, so both check and return the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from .errors import SessionConflict, SessionGone, SessionRefused
from .record import FIELDS, decode_session, encode_data
from .session import Session
from .token import SessionPlace, anonymous_place_of, epoch_key, new_token, place_of, tag_of, user_key

TEXT_LIMIT = 255
"""Bytes of a user id or a label."""
SPAN_LIMIT = timedelta(days=3660)
"""The longest idle or absolute limit; a permanent credential is not a session."""
SERVICE_USER = "momentus:service"
"""User to whom all tokens of machines belong; `Sessions.create` rejects it."""
ANONYMOUS = "momentus:anonymous:"
"""Beginning of the names under which anonymous sessions are stored; `Sessions.create` rejects it."""
CAP_LIMIT = 100
"""The largest cap of sessions per user, and the length of a list of them."""

DEADLINE = timedelta(milliseconds=250)
"""Default maximum duration of a call."""
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=7)
GRACE = timedelta(seconds=30)
"""Time for which an old token stays valid after a rotation: longer than any concurrent request takes."""

_GONE = (
    "session: has ended, or its token was replaced longer ago than the grace; load the token of this request "
    "again: None means that the user must log in again"
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SessionOperation(Generic[Result]):
    """One call of a script.

    Attributes:
        read: turns the reply into the caller's result; raises the operation's errors.
    """

    script: str
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int] = field(repr=False)
    read: Callable[[Any], Result]


def create(
    user: str, data: Mapping[str, Any], *, label: str, idle: timedelta, absolute: timedelta, cap: int
) -> SessionOperation[tuple[str, Session]]:
    """Create a user's session. Raises SessionRefused."""
    if user == SERVICE_USER:
        raise SessionRefused(f"user: {SERVICE_USER!r} is reserved for machines; use `create_service`")
    if user.startswith(ANONYMOUS):
        raise SessionRefused(
            f"user: {ANONYMOUS!r} is the prefix for visitors who have not logged in; use another name"
        )
    return create_session(user, data, label=label, idle=idle, absolute=absolute, cap=cap)


def create_session(
    user: str,
    data: Mapping[str, Any],
    *,
    label: str,
    idle: timedelta,
    absolute: timedelta,
    cap: int = 0,
    limit: int = 0,
    token: str | None = None,
) -> SessionOperation[tuple[str, Session]]:
    """Create a session of a user or a machine.

    Args:
        cap: maximum of the user's live sessions, above which those that would end first are ended; 0 for any
            number.
        limit: maximum of the user's live sessions, above which this one is rejected; 0 for any number.
        token: a new token, in a different form from a user's.

    Raises:
        SessionRefused: an argument is invalid; by its reply, the limit is reached.
    """
    check_text("user", user, least=1)
    check_text("label", label)
    limits = [milliseconds("idle", idle), milliseconds("absolute", absolute)]
    if not 0 <= cap <= CAP_LIMIT:
        raise SessionRefused(f"cap: must be from 0 (no limit) to {CAP_LIMIT}, not {cap}")
    payload = encode_data(data)
    token = token or new_token(user)
    place = _place(token)
    keys = [place.session_key, user_key(user), epoch_key(user)]
    arguments: list[str | bytes | int] = [place.digest, user, *limits, label, payload, cap, place.prefix, limit]

    def read(record: Sequence[bytes | str]) -> tuple[str, Session]:
        if len(record) == 1:
            raise SessionRefused(f"user: {user!r} already has {limit} sessions, the maximum; end some of them")
        return token, decode_session(place, record)

    return SessionOperation("create", keys, arguments, read)


def load(place: SessionPlace) -> SessionOperation[Session | None]:
    """Load the session at a place, or at the place to which a rotation moved it."""

    def read(record: Sequence[bytes | str] | None) -> Session | None:
        if not record:
            return None
        return _decode_placed(place, record)

    return SessionOperation("load", _keys(place), [place.digest], read)


def save(session: Session, data: Mapping[str, Any]) -> SessionOperation[Session]:
    """Replace a session's data. Raises SessionRefused; by its reply SessionConflict, SessionGone."""

    def read(reply: Sequence[bytes | str]) -> Session:
        verdict, *record = reply
        if verdict in {b"gone", "gone"}:
            raise SessionGone(_GONE)
        current = _decode_placed(session.place, record)
        if verdict in {b"conflict", "conflict"}:
            raise SessionConflict(current)
        return current

    this_call = secrets.token_hex(8)  # the operation is made once, and may be sent twice
    arguments: list[str | bytes | int] = [session.version, encode_data(data), session.place.digest, this_call]
    return SessionOperation("save", _keys(session.place), arguments, read)


def rotate(place: SessionPlace, *, grace: timedelta) -> SessionOperation[tuple[str, Session] | None]:
    """Replace a session's token. Raises SessionRefused; by its reply SessionGone."""
    if not timedelta(0) <= grace <= timedelta(minutes=10):
        raise SessionRefused(f"grace: must be from 0 to 10 minutes, not {grace}")
    token = mint_beside(place)
    after = _place(token)

    def read(reply: Sequence[bytes | str]) -> tuple[str, Session] | None:
        verdict, *record = reply
        if verdict in {b"gone", "gone"}:
            raise SessionGone(_GONE)
        return None if verdict in {b"already", "already"} else (token, decode_session(after, record))

    keys = [*_keys(place), after.session_key]
    return SessionOperation("rotate", keys, [place.digest, after.digest, grace // timedelta(milliseconds=1)], read)


def sessions_of(user: str) -> SessionOperation[list[Session]]:
    """List a user's live sessions. Raises SessionRefused."""
    check_text("user", user, least=1)
    tag = tag_of(user)
    width = 1 + len(FIELDS)

    def read(reply: Sequence[bytes | str]) -> list[Session]:
        rows = [reply[at : at + width] for at in range(0, len(reply), width)]
        return [decode_session(SessionPlace(tag, _text(digest)), record) for digest, *record in rows]

    return SessionOperation("list", [user_key(user), SessionPlace(tag, "").prefix, epoch_key(user)], [], read)


def revoke(place: SessionPlace) -> SessionOperation[bool]:
    """End the session at a place."""
    return SessionOperation("revoke", _keys(place), [place.digest], bool)


def revoke_user(user: str, *, least: int = 0) -> SessionOperation[int]:
    """End all sessions of a user; the result is the user's new epoch. Raises SessionRefused."""
    check_text("user", user, least=1)
    return SessionOperation("revoke_user", [epoch_key(user), user_key(user)], [least], int)


def restore_epoch(user: str, epoch: int) -> SessionOperation[bool]:
    """Raise a user's epoch in Redis to a known one; the result is True if Redis had lost it."""
    return SessionOperation("restore_epoch", [epoch_key(user)], [epoch], bool)


def known_place(token: str) -> SessionPlace:
    """Return the place of a token's session. Raises SessionGone for a text that is not a token."""
    place = place_of(token)
    if place is None:
        raise SessionGone("token: is not a session token; the user must log in again")
    return place


def check_text(field: str, text: str, *, least: int = 0) -> None:
    """Check a text argument. Raises SessionRefused if it is not valid Unicode, too short or too long."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise SessionRefused(f"{field}: is not valid Unicode text ({error})") from error
    if not least <= size <= TEXT_LIMIT:
        raise SessionRefused(f"{field}: must be {least} to {TEXT_LIMIT} bytes long, not {size}")


def milliseconds(field: str, span: timedelta) -> int:
    """Return a duration in milliseconds. Raises SessionRefused if it is out of range."""
    if not timedelta(milliseconds=1) <= span <= SPAN_LIMIT:
        raise SessionRefused(f"{field}: must be from 1 ms to {SPAN_LIMIT.days} days, not {span}")
    return span // timedelta(milliseconds=1)


def mint_beside(place: SessionPlace) -> str:
    """Return a new token for the user of a place; the user's id is not needed, the tag is enough."""
    return f"ms1.{place.tag}.{new_token('').rpartition('.')[2]}"


def _place(token: str) -> SessionPlace:
    place = place_of(token) or anonymous_place_of(token)
    assert place is not None  # noqa: S101  a new token has the form of a token
    return place


def _decode_placed(asked: SessionPlace, record: Sequence[bytes | str]) -> Session:
    """Decode a record whose last field is the digest of its key, which a rotation may have changed."""
    *fields, digest = record
    return decode_session(SessionPlace(asked.tag, _text(digest)), fields)


def _keys(place: SessionPlace) -> list[str]:
    return [place.session_key, place.prefix]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
