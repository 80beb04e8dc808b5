"""The route of hints: admission to a stream, even while Redis is unreachable.

    200   a stream: hints; while Redis is unreachable, a comment each second until it is back; or a note that there
          are too many streams
    401   no session
    404   no such report, or the session may not read it

A browser does not reconnect after 401 or 404.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from reader import problem
from reader.access import token_of
from reader.guard import Guard
from reader.hints import LIFE_S, NO_ROOM, EventStream, Hints, back_event
from reader.live_session import find_session
from reader.message import Request, Response
from reader.query import values_of
from reader.store import StoredReports, StoreUnavailable
from sessions import SessionsUnavailable

UNAVAILABLE = (StoreUnavailable, SessionsUnavailable)
WAITING_LIMIT = 200
"""Largest number of streams that wait for Redis, whose sessions are not known yet."""
_LOOK_AGAIN_S = 1.0
_AWAY = "retry: 2000\n: Redis does not reply; hints start when it does\n\n"
_STILL_AWAY = ": Redis does not reply yet\n\n"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Admission:
    """Permission to follow a report.

    Attributes:
        session_name: name of the session; empty if no session is needed.
    """

    report: str
    session_name: str = field(default="", repr=False)


class Events:
    """Admission to streams of hints.

    Args:
        guard: reads sessions; None lets any client follow any report.
    """

    def __init__(self, store: StoredReports, guard: Guard | None, hints: Hints) -> None:
        self._store = store
        self._guard = guard
        self._hints = hints
        self._waiting = 0

    async def admit_client(self, request: Request, *, counts: bool = True) -> Admission | Response:
        """Return the admission of a client that wants to follow a report, or a refusal.

        Args:
            counts: True if this is a use of the session, which extends its idle limit.

        Raises:
            StoreUnavailable, SessionsUnavailable: Redis did not reply, or not in the sessions' format.
        """
        session = await find_session(self._guard, request, counts=counts) if self._guard else None
        if self._guard and session is None:
            return problem.refuse_token(token_given=token_of(request) is not None)
        names = values_of(request.query, "report")
        if len(names) != 1 or not _NAME.fullmatch(names[0]) or (session and not session.roots):
            return problem.not_found()
        if not await self._store.is_declared(names[0]):
            return problem.not_found()
        return Admission(names[0], session.name if session else "")

    def outcome(self, admission: Admission | None) -> str:
        """Return the counter's name for a stream that starts now."""
        if admission is None:
            return problem.REDIS_UNREACHABLE.name.replace("-", "_")
        return "hints" if self._hints.has_room(admission.session_name) else "too_many_streams"

    async def send_hints(self, request: Request, admission: Admission | None, stream: EventStream) -> None:
        """Send hints; without an admission, wait until Redis is back and admits the client."""
        begin = ""
        with suppress(OSError):  # the client has gone
            if admission is None:
                admission = await self._wait(request, stream)
                begin = back_event(admission.report) if admission else ""
            if admission is not None and self._hints.has_room(admission.session_name):
                still = partial(self._is_still_admitted, request)
                await self._hints.follow_report(
                    admission.report, stream, admission.session_name, begin=begin, still=still
                )
            elif admission is not None:
                await stream.send_str(NO_ROOM)

    async def _is_still_admitted(self, request: Request) -> bool:
        """Return True if session and report still exist; while Redis is unreachable the admission stands."""
        try:
            return isinstance(await self.admit_client(request, counts=False), Admission)
        except UNAVAILABLE:
            return True

    async def _wait(self, request: Request, stream: EventStream) -> Admission | None:
        """Wait for Redis and return the admission, or None if there is none, so that the stream ends."""
        if self._waiting >= WAITING_LIMIT:
            await stream.send_str(NO_ROOM)
            return None
        self._waiting += 1
        try:
            await stream.send_str(_AWAY)
            ends = asyncio.get_running_loop().time() + LIFE_S
            while not self._hints.closed and asyncio.get_running_loop().time() < ends:
                await asyncio.sleep(_LOOK_AGAIN_S)
                with suppress(*UNAVAILABLE):
                    found = await self.admit_client(request)
                    return None if isinstance(found, Response) else found
                await stream.send_str(_STILL_AWAY)
            return None
        finally:
            self._waiting -= 1
