"""Hints to browsers that a report has changed: server-sent events (WHATWG HTML, 9.2).

    id: 41
    event: changed
    data: {"report":"management","gen":41}

A hint carries no data and no node, so that it tells nothing to anybody; whoever gets one asks for their document
again with `If-None-Match`. A hint that was missed does no harm for the same reason: a browser that connects
anew asks anyway. A stream ends after ten minutes, so that a log-out is noticed, and the browser comes back.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

import orjson

STREAMS_LIMIT = 1000
"""Streams of one process; the next one is told to come back later."""
LIFE_S = 600.0
BEAT_S = 15.0
"""How often a silent stream says that it lives: proxies close what is silent."""
_BACKLOG = 16
"""Hints that wait for a slow reader; older ones are dropped, as the newest says it all."""


class Stream(Protocol):
    """Where the octets of a long answer go, as RSGI gives it."""

    async def send_str(self, data: str) -> None:
        """Send some; raises an OSError when the client has gone."""


class Hints:
    """Everybody who listens, by report."""

    def __init__(self, *, life_s: float = LIFE_S, beat_s: float = BEAT_S) -> None:
        self._life_s = life_s
        self._beat_s = beat_s
        self._queues: set[tuple[str, asyncio.Queue[str]]] = set()

    @property
    def full(self) -> bool:
        """Whether no further stream is taken."""
        return len(self._queues) >= STREAMS_LIMIT

    def tell(self, message: bytes) -> None:
        """Pass a published change on; what is not one is passed over."""
        with suppress(ValueError, KeyError, TypeError):
            content = orjson.loads(message)
            report, generation = str(content["report"]), int(content["gen"])
            data = orjson.dumps({"report": report, "gen": generation}).decode()
            event = f"id: {generation}\nevent: changed\ndata: {data}\n\n"
            for _, queue in [one for one in self._queues if one[0] == report]:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(event)

    async def follow(self, report: str, stream: Stream) -> None:
        """Send hints until the client goes or the stream's life is over."""
        entry = (report, asyncio.Queue[str](maxsize=_BACKLOG))
        self._queues.add(entry)
        ends = asyncio.get_running_loop().time() + self._life_s
        try:
            await stream.send_str("retry: 2000\n\n")
            while (left := ends - asyncio.get_running_loop().time()) > 0:
                await stream.send_str(await _next(entry[1], min(left, self._beat_s)))
        except OSError:
            pass  # the client has gone
        finally:
            self._queues.discard(entry)


async def _next(queue: asyncio.Queue[str], seconds: float) -> str:
    """The next hint, or a comment as a sign of life."""
    try:
        async with asyncio.timeout(seconds):
            return await queue.get()
    except TimeoutError:
        return ": alive\n\n"
