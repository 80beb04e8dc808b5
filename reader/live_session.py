"""Session of a request for a page that is not a document: the OpenAPI description and the stream of hints."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reader.access import credentials_of
from reader.guard import Guard
from reader.message import Request
from sessions.token import place_of


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that has not ended.

    Attributes:
        name: identifies the session; it is not a token.
    """

    name: str = field(repr=False)
    roots: AbstractSet[str]


async def find_session(guard: Guard, request: Request, *, counts: bool = True) -> LiveSession | None:
    """Return the session of a request, or None if there is none or it has ended.

    Args:
        counts: True if this is a use of the session, which extends its idle limit.

    Raises:
        StoreUnavailable, SessionsUnavailable: Redis did not reply, or not in the sessions' format.
    """
    found = credentials_of(request)
    for token in (found.token, found.cookie) if found else ():
        place, query = place_of(token), await guard.send_query(token)
        roots = await guard.roots(token, query, counts=counts) if query else None
        if place is not None and roots is not None:
            return LiveSession(place.session_key, roots)
    return None
