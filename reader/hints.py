"""Hints to browsers that a report has changed: server-sent events (WHATWG HTML, 9.2).

    id: 41
    event: changed
    data: {"report":"management","gen":41}

    event: back
    data: {"report":"management"}

A hint carries no data and no node, so that it tells nothing to anybody; whoever gets one asks for their document
again with `If-None-Match`. A hint that was missed does no harm for the same reason: a browser that connects
anew asks anyway, and one whose stream goes on after an outage is told (`back`) that hints may have been missed.
A stream ends after ten minutes, so that a log-out is noticed, and the browser comes back.

A browser that gets anything but 200 when it comes back never comes again (WHATWG HTML, 9.2.3). So what passes by
itself (no room, Redis away) is said in a stream, which ends or goes on: only who may not follow gets a refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import orjson

STREAMS_LIMIT = 1000
"""Streams of one process."""
OF_ONE_LIMIT = 20
"""Streams of one session: a browser opens one for each of its windows."""
LIFE_S = 600.0
BEAT_S = 15.0
"""How often a silent stream says that it lives: proxies close what is silent."""
NO_ROOM = "retry: 30000\n: too many streams are open; come back later\n\n"
_BACKLOG = 16
"""Hints that wait for a slow reader; older ones are dropped, as the newest says it all."""
_END = ""


class EventStream(Protocol):
    """Where the octets of a long answer go, as RSGI gives it."""

    async def send_str(self, data: str) -> None:
        """Send some; raises an OSError when the client has gone."""


@dataclass(frozen=True, slots=True, eq=False)
class Follower:
    """Somebody who listens.

    Attributes:
        asker: whose stream it is; empty where nobody says who they are.
    """

    report: str
    asker: str = field(repr=False)
    queue: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(_BACKLOG), repr=False)

    def tell(self, event: str) -> None:
        """Leave a hint; of too many that wait, the oldest is dropped."""
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(event)


class Hints:
    """Everybody who listens, by report.

    Attributes:
        closed: whether the process stops; no stream goes on.
    """

    def __init__(self, *, life_s: float = LIFE_S, beat_s: float = BEAT_S) -> None:
        self._life_s = life_s
        self._beat_s = beat_s
        self._followers: set[Follower] = set()
        self.closed = False

    def has_room(self, asker: str = "") -> bool:
        """Whether a further stream is taken, of this asker."""
        if asker and sum(one.asker == asker for one in self._followers) >= OF_ONE_LIMIT:
            return False
        return len(self._followers) < STREAMS_LIMIT

    def tell(self, message: bytes) -> None:
        """Pass a published change on; what is not one is passed over."""
        with suppress(ValueError, KeyError, TypeError):
            content = orjson.loads(message)
            report, generation = str(content["report"]), int(content["gen"])
            data = orjson.dumps({"report": report, "gen": generation}).decode()
            event = f"id: {generation}\nevent: changed\ndata: {data}\n\n"
            for one in self._followers:
                if one.report == report:
                    one.tell(event)

    def resume(self) -> None:
        """Tell everybody that changes are heard again, and that some may have been missed."""
        for one in self._followers:
            one.tell(back(one.report))

    def close(self) -> None:
        """End all streams; browsers come back to whoever runs then."""
        self.closed = True
        for one in self._followers:
            one.tell(_END)

    async def follow(
        self,
        report: str,
        stream: EventStream,
        asker: str = "",
        *,
        begin: str = "",
        still: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Send hints until the client goes, the stream's life is over, or what it was admitted by is withdrawn.

        Args:
            begin: the first event.
            still: whether they may still follow; asked about once between two signs of life.
        """
        one = Follower(report, asker)
        self._followers.add(one)
        now = asyncio.get_running_loop().time
        ends, look_at = now() + self._life_s, now() + self._beat_s
        try:
            await stream.send_str("retry: 2000\n\n" + begin)
            while not self.closed and (left := ends - now()) > 0:
                said = await _next(one.queue, min(left, self._beat_s))
                if still is not None and now() >= look_at:
                    if not await still():
                        return
                    look_at = now() + self._beat_s
                await stream.send_str(said)
        except OSError:
            pass  # the client has gone
        finally:
            self._followers.discard(one)


def back(report: str) -> str:
    """The event that says that hints may have been missed."""
    return f"event: back\ndata: {orjson.dumps({'report': report}).decode()}\n\n"


async def _next(queue: asyncio.Queue[str], seconds: float) -> str:
    """The next hint, or a comment as a sign of life."""
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return ": alive\n\n"
