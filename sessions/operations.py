"""Each operation as a value: which script, with what, and what its reply means. No I/O.

`store` carries them out with asyncio, `sync` without; both check the same and say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from .errors import SessionConflict, SessionGone, SessionRefused
from .record import FIELDS, decode, encode
from .session import Session
from .token import SessionPlace, epoch_key, mint, place_of, tag_of, user_key

TEXT_LIMIT = 255
"""Bytes of a user id or a label."""
SPAN_LIMIT = timedelta(days=3660)
"""The longest idle or absolute limit; what is meant to be for ever is not a session."""
SERVICE_USER = "momentus:service"
"""Whose the tokens of machines are; no person can log in as it."""
CAP_LIMIT = 100
"""The largest cap of sessions per user; a list shows as many."""

DEADLINE = timedelta(milliseconds=250)
"""How long a call may take unless its maker says otherwise."""
IDLE = timedelta(hours=12)
ABSOLUTE = timedelta(days=7)
GRACE = timedelta(seconds=30)
"""How long an old token goes on after a rotation: longer than any request under way."""

_GONE = (
    "the session has ended, or its token was replaced longer ago than the grace: load the token of this request "
    "again; None means that the user must log in again"
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SessionOperation(Generic[Result]):
    """One script call.

    Attributes:
        read: what the caller gets for the reply; raises what the operation raises.
    """

    script: str
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int] = field(repr=False)
    read: Callable[[Any], Result]


def create(
    user: str, data: Mapping[str, Any], *, label: str, idle: timedelta, absolute: timedelta, cap: int
) -> SessionOperation[tuple[str, Session]]:
    """Raises SessionRefused."""
    if user == SERVICE_USER:
        raise SessionRefused(f"user {SERVICE_USER!r} stands for machines: make a token with `create_service`")
    return begin(user, data, label=label, idle=idle, absolute=absolute, cap=cap)


def begin(
    user: str,
    data: Mapping[str, Any],
    *,
    label: str,
    idle: timedelta,
    absolute: timedelta,
    cap: int = 0,
    limit: int = 0,
) -> SessionOperation[tuple[str, Session]]:
    """Make a session of a person or a machine.

    Args:
        cap: living sessions of the user over which the oldest is ended; 0 for any number.
        limit: living sessions of the user at which this one is refused; 0 for any number.

    Raises:
        SessionRefused: an argument is not acceptable; by its reply, the limit is reached.
    """
    check_text("user", user, least=1)
    check_text("label", label)
    limits = [milliseconds("idle", idle), milliseconds("absolute", absolute)]
    if not 0 <= cap <= CAP_LIMIT:
        raise SessionRefused(f"cap must be from 0, any number, to {CAP_LIMIT}; it is {cap}")
    payload = encode(data)
    token = mint(user)
    place = _place(token)
    keys = [place.session_key, user_key(user), epoch_key(user)]
    arguments: list[str | bytes | int] = [place.digest, user, *limits, label, payload, cap, place.prefix, limit]

    def read(record: Sequence[bytes | str]) -> tuple[str, Session]:
        if len(record) == 1:
            raise SessionRefused(
                f"user {user!r} has {limit} sessions already, as many as it may: end some of them"
            )
        return token, decode(place, record)

    return SessionOperation("create", keys, arguments, read)


def load(place: SessionPlace) -> SessionOperation[Session | None]:
    """The session at a place, or where a rotation has moved it."""

    def read(record: Sequence[bytes | str] | None) -> Session | None:
        if not record:
            return None
        return _decode_placed(place, record)

    return SessionOperation("load", _keys(place), [place.digest], read)


def save(session: Session, data: Mapping[str, Any]) -> SessionOperation[Session]:
    """Raises SessionRefused; its reply SessionConflict, SessionGone."""

    def read(reply: Sequence[bytes | str]) -> Session:
        verdict, *record = reply
        if verdict in {b"gone", "gone"}:
            raise SessionGone(_GONE)
        current = _decode_placed(session.place, record)
        if verdict in {b"conflict", "conflict"}:
            raise SessionConflict(current)
        return current

    return SessionOperation(
        "save", _keys(session.place), [session.version, encode(data), session.place.digest], read
    )


def rotate(place: SessionPlace, *, grace: timedelta) -> SessionOperation[tuple[str, Session] | None]:
    """Raises SessionRefused; its reply SessionGone."""
    if not timedelta(0) <= grace <= timedelta(minutes=10):
        raise SessionRefused(f"grace must be from 0 to 10 minutes; it is {grace}")
    token = mint_beside(place)
    after = _place(token)

    def read(reply: Sequence[bytes | str]) -> tuple[str, Session] | None:
        verdict, *record = reply
        if verdict in {b"gone", "gone"}:
            raise SessionGone(_GONE)
        return None if verdict in {b"already", "already"} else (token, decode(after, record))

    keys = [*_keys(place), after.session_key]
    return SessionOperation("rotate", keys, [place.digest, after.digest, grace // timedelta(milliseconds=1)], read)


def sessions_of(user: str) -> SessionOperation[list[Session]]:
    """Raises SessionRefused."""
    check_text("user", user, least=1)
    tag = tag_of(user)
    width = 1 + len(FIELDS)

    def read(reply: Sequence[bytes | str]) -> list[Session]:
        rows = [reply[at : at + width] for at in range(0, len(reply), width)]
        return [decode(SessionPlace(tag, _text(digest)), record) for digest, *record in rows]

    return SessionOperation("list", [user_key(user), SessionPlace(tag, "").prefix, epoch_key(user)], [], read)


def revoke(place: SessionPlace) -> SessionOperation[bool]:
    """Ends the session at a place."""
    return SessionOperation("revoke", _keys(place), [place.digest], bool)


def revoke_user(user: str, *, least: int = 0) -> SessionOperation[int]:
    """Raises SessionRefused. Its reply is the user's new epoch."""
    check_text("user", user, least=1)
    return SessionOperation("revoke_user", [epoch_key(user), user_key(user)], [least], int)


def restore_epoch(user: str, epoch: int) -> SessionOperation[bool]:
    """Its reply: whether Redis had forgotten."""
    return SessionOperation("restore_epoch", [epoch_key(user)], [epoch], bool)


def known_place(token: str) -> SessionPlace:
    """Where a token's session is kept. Raises SessionGone for a text that is no token."""
    place = place_of(token)
    if place is None:
        raise SessionGone("this is no session's token; ask for a new login")
    return place


def check_text(field: str, text: str, *, least: int = 0) -> None:
    """Raises SessionRefused for a text that is none, or too short or long."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise SessionRefused(f"{field} is not valid Unicode text: {error}") from error
    if not least <= size <= TEXT_LIMIT:
        raise SessionRefused(f"{field} must have {least} to {TEXT_LIMIT} bytes; it has {size}")


def milliseconds(field: str, span: timedelta) -> int:
    """Raises SessionRefused for a limit that is no limit."""
    if not timedelta(milliseconds=1) <= span <= SPAN_LIMIT:
        raise SessionRefused(f"{field} must be between 1 ms and {SPAN_LIMIT.days} days; it is {span}")
    return span // timedelta(milliseconds=1)


def mint_beside(place: SessionPlace) -> str:
    """A new token of the same user, who need not be known: the tag is enough."""
    return f"ms1.{place.tag}.{mint('').rpartition('.')[2]}"


def _place(token: str) -> SessionPlace:
    place = place_of(token)
    assert place is not None  # noqa: S101  a token we have just made has the form of a token
    return place


def _decode_placed(asked: SessionPlace, record: Sequence[bytes | str]) -> Session:
    """Decode a record that ends with the digest it is kept under; a rotation may have moved it."""
    *fields, digest = record
    return decode(SessionPlace(asked.tag, _text(digest)), fields)


def _keys(place: SessionPlace) -> list[str]:
    return [place.session_key, place.prefix]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
