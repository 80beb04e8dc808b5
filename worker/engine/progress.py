"""Progress of a long job, reported by its handler as ``ctx["progress"](done, total, note)``, shown by ``ops why``.

A handler may report at any rate, even from a thread: at most two writes per second are sent, with the latest
report. A failed write is not repeated, because the next one replaces it; the pump logs that Redis is down. The
script is fenced, so that a handler that lost its lease cannot report about another attempt. The progress is
deleted when the attempt ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson
from redis.exceptions import RedisError

import background
from jobs.run import check_progress
from worker.engine.lane import Claim

_PAUSE_SECONDS = 0.5


class Progress:
    """The progress of one attempt. Calling it does not block.

    Args:
        write: stores the progress of a claim, under a key; fenced.
        loop: the event loop for the writes.

    Example:
        context["progress"](40, 200, "nodes")
    """

    __slots__ = ("_claim", "_closed", "_key", "_latest", "_loop", "_scheduled", "_task", "_write")

    def __init__(
        self,
        write: Callable[[Claim, str, bytes], Awaitable[object]],
        claim: Claim,
        key: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._write, self._claim, self._key = write, claim, key
        self._loop = loop
        self._latest: bytes | None = None
        self._scheduled = self._closed = False
        self._task: asyncio.Task[None] | None = None

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Report the progress.

        Args:
            done, total: in any unit; done from 0, total above 0.
            note: the counted thing or the current step, one line of at most 200 characters. No private data:
                operators see it.

        Raises:
            ValueError: a number out of range, or an invalid note.
        """
        check_progress(done, total, note)
        self._latest = orjson.dumps({"done": done, "total": total, "note": note, "attempt": self._claim.attempt})
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._start_writing)

    def close(self) -> None:
        """Stop writing: the attempt is over."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    def _start_writing(self) -> None:
        if self._task is None and not self._closed:
            self._task = background.start_once("progress", self._write_all())

    async def _write_all(self) -> None:
        try:
            while latest := self._take_latest():
                with suppress(RedisError, OSError, TimeoutError):
                    await self._write(self._claim, self._key, latest)
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._task = None

    def _take_latest(self) -> bytes | None:
        self._scheduled = False  # a report from here on, also from a thread, schedules the next write
        latest, self._latest = self._latest, None
        return latest
