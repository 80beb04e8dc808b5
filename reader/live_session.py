"""Whoever asks for a page that is not one node's document: the description, the stream of hints."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reader.access import credentials_of
from reader.guard import Guard
from reader.message import Request
from sessions.token import place_of


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A living session.

    Attributes:
        name: tells it from other sessions; it is no token.
    """

    name: str = field(repr=False)
    roots: AbstractSet[int]


async def find_asker(guard: Guard, request: Request, *, counts: bool = True) -> LiveSession | None:
    """Find the session of a request; None when there is none, or when it has ended.

    Args:
        counts: whether that is a use of the session, which slides its idle limit.

    Raises:
        StoreUnavailable, SessionsUnavailable: Redis did not say, or not in the sessions' format.
    """
    found = credentials_of(request)
    for token in (found.token, found.cookie) if found else ():
        place, asked = place_of(token), await guard.ask(token)
        roots = await guard.roots(token, asked, counts=counts) if asked else None
        if place is not None and roots is not None:
            return LiveSession(place.session_key, roots)
    return None
