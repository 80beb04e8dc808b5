"""Hints to browsers that a report has changed: server-sent events (WHATWG HTML, 9.2).

    id: 41
    event: changed
    data: {"report":"management","gen":41}

    event: back
    data: {"report":"management"}

A hint contains no data and no node, so it discloses nothing; the browser then requests its document again with
`If-None-Match`. For the same reason a missed hint is harmless: a browser that reconnects requests its document
anyway, and a stream that continues after an outage sends `back`, which says that hints may have been missed. A
stream ends after ten minutes, so that a log-out takes effect, and the browser reconnects.

A browser that reconnects and gets a status other than 200 never reconnects again (WHATWG HTML, 9.2.3). So
temporary conditions (too many streams, Redis unreachable) are stated in a stream, which ends or continues; only a
client that may not follow the report gets a refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import orjson

STREAMS_LIMIT = 1000
"""Largest number of streams of one process."""
OF_ONE_LIMIT = 20
"""Largest number of streams of one session: a browser opens one for each of its windows."""
LIFE_S = 600.0
BEAT_S = 15.0
"""Interval of comments on a silent stream: proxies close a connection without traffic."""
NO_ROOM = "retry: 30000\n: too many streams are open; come back later\n\n"
_BACKLOG = 16
"""Hints that wait for a slow client; the oldest is dropped, because the newest includes it."""
_END = ""


class EventStream(Protocol):
    """A response that is sent in parts."""

    async def send_str(self, data: str) -> None:
        """Send one part. Raises OSError if the client has closed the connection."""


@dataclass(frozen=True, slots=True, eq=False)
class Follower:
    """Follower of one report: one stream and its waiting hints.

    Attributes:
        session_name: name of the session; empty if no session is needed.
    """

    report: str
    session_name: str = field(repr=False)
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(_BACKLOG), repr=False)

    def queue_event(self, event: str) -> None:
        """Queue an event; drop the oldest if the queue is full."""
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(event)


class Hints:
    """Followers of all reports.

    Attributes:
        closed: True if the process stops, so that no stream continues.
    """

    def __init__(self, *, life_s: float = LIFE_S, beat_s: float = BEAT_S) -> None:
        self._life_s = life_s
        self._beat_s = beat_s
        self._followers: set[Follower] = set()
        self.closed = False

    def has_room(self, session_name: str = "") -> bool:
        """Return True if one more stream of this session is accepted."""
        if session_name and sum(one.session_name == session_name for one in self._followers) >= OF_ONE_LIMIT:
            return False
        return len(self._followers) < STREAMS_LIMIT

    def publish_change(self, message: bytes) -> None:
        """Pass a published change on to its followers; ignore a malformed message."""
        with suppress(ValueError, KeyError, TypeError):
            content = orjson.loads(message)
            report, generation = str(content["report"]), int(content["gen"])
            data = orjson.dumps({"report": report, "gen": generation}).decode()
            event = f"id: {generation}\nevent: changed\ndata: {data}\n\n"
            for one in self._followers:
                if one.report == report:
                    one.queue_event(event)

    def resume_streams(self) -> None:
        """Send `back` to all followers: the subscription works again, and hints may have been missed."""
        for one in self._followers:
            one.queue_event(back_event(one.report))

    def close(self) -> None:
        """End all streams; browsers reconnect to another reader."""
        self.closed = True
        for one in self._followers:
            one.queue_event(_END)

    async def follow_report(
        self,
        report: str,
        stream: EventStream,
        session_name: str = "",
        *,
        begin: str = "",
        still: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Send hints until the client disconnects, the stream reaches its maximum age, or admission is withdrawn.

        Args:
            begin: the first event.
            still: returns True while the client may follow; called about once between two comments.
        """
        one = Follower(report, session_name)
        self._followers.add(one)
        now = asyncio.get_running_loop().time
        ends, look_at = now() + self._life_s, now() + self._beat_s
        try:
            await stream.send_str("retry: 2000\n\n" + begin)
            while not self.closed and (left := ends - now()) > 0:
                event = await _next(one.queue, min(left, self._beat_s))
                if still is not None and now() >= look_at:
                    if not await still():
                        return
                    look_at = now() + self._beat_s
                await stream.send_str(event)
        except OSError:
            pass  # the client has closed the connection
        finally:
            self._followers.discard(one)


def back_event(report: str) -> str:
    """Return the event that says that hints may have been missed."""
    return f"event: back\ndata: {orjson.dumps({'report': report}).decode()}\n\n"


async def _next(queue: asyncio.Queue[str], seconds: float) -> str:
    """Return the next hint, or a comment after some seconds without one."""
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return ": alive\n\n"
