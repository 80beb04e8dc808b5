"""The route of hints: who may follow a report, and what a stream says while that cannot be found out.

    200   a stream: hints; while Redis is away, a comment each second until it is back; or that there is no room
    401   no session
    404   no such report, or not for this session

A browser does not come back after the last two.
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
from reader.hints import LIFE_S, NO_ROOM, EventStream, Hints, back
from reader.live_session import find_asker
from reader.message import Request, Response
from reader.query import values_of
from reader.store import StoredReports, StoreUnavailable
from sessions import SessionsUnavailable

UNAVAILABLE = (StoreUnavailable, SessionsUnavailable)
WAITING_LIMIT = 200
"""Streams that wait for Redis: nobody knows yet who they are."""
_LOOK_AGAIN_S = 1.0
_AWAY = "retry: 2000\n: Redis does not answer; hints go on when it does\n\n"
_STILL_AWAY = ": Redis does not answer yet\n\n"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Admission:
    """The right to follow a report.

    Attributes:
        asker: tells one session from others; empty where none is needed.
    """

    report: str
    asker: str = field(default="", repr=False)


class Events:
    """Admits followers, and holds those whom it cannot judge yet.

    Args:
        guard: knows who may see what; None lets everybody follow everything.
    """

    def __init__(self, store: StoredReports, guard: Guard | None, hints: Hints) -> None:
        self._store = store
        self._guard = guard
        self._hints = hints
        self._waiting = 0

    async def admit(self, request: Request, *, counts: bool = True) -> Admission | Response:
        """Judge who wants to follow: their admission, or a refusal.

        Args:
            counts: whether that is a use of the session, which slides its idle limit.

        Raises:
            StoreUnavailable, SessionsUnavailable: nobody can tell now.
        """
        asker = await find_asker(self._guard, request, counts=counts) if self._guard else None
        if self._guard and asker is None:
            return problem.unauthorised(token_given=token_of(request) is not None)
        names = values_of(request.query, "report")
        if len(names) != 1 or not _NAME.fullmatch(names[0]) or (asker and not asker.roots):
            return problem.not_found()
        if not await self._store.declared(names[0]):
            return problem.not_found()
        return Admission(names[0], asker.name if asker else "")

    def outcome(self, admission: Admission | None) -> str:
        """The counter of a stream that begins now."""
        if admission is None:
            return problem.REDIS_UNREACHABLE.name.replace("-", "_")
        return "hints" if self._hints.has_room(admission.asker) else "too_many_streams"

    async def run(self, request: Request, admission: Admission | None, stream: EventStream) -> None:
        """Send hints; without an admission, once Redis has said that they may be sent."""
        begin = ""
        with suppress(OSError):  # the client has gone
            if admission is None:
                admission = await self._wait(request, stream)
                begin = back(admission.report) if admission else ""
            if admission is not None and self._hints.has_room(admission.asker):
                still = partial(self._is_still_admitted, request)
                await self._hints.follow(admission.report, stream, admission.asker, begin=begin, still=still)
            elif admission is not None:
                await stream.send_str(NO_ROOM)

    async def _is_still_admitted(self, request: Request) -> bool:
        """Whether session and report are still there; while nobody can tell, they count as they were."""
        try:
            return isinstance(await self.admit(request, counts=False), Admission)
        except UNAVAILABLE:
            return True

    async def _wait(self, request: Request, stream: EventStream) -> Admission | None:
        """The admission once Redis is back; None when there is none, so that the stream ends."""
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
                    found = await self.admit(request)
                    return None if isinstance(found, Response) else found
                await stream.send_str(_STILL_AWAY)
            return None
        finally:
            self._waiting -= 1
