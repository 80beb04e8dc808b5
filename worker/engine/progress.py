"""How far a long job is, told by its handler as ``ctx["progress"](done, total, note)`` and shown by ``ops why``.

A handler may tell as often as it likes, also from a thread: at most two writes a second leave, and the last word
wins. A write that fails is not repeated; the next one tells more, and that Redis is away is told elsewhere. The
script is fenced, so that a handler that lost its lease tells nothing about another attempt; and what was told is
forgotten when the attempt ends.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson
from redis.exceptions import RedisError

import background
from worker.engine.lane import Claim

_PAUSE_SECONDS = 0.5
_NOTE_LIMIT = 200


class Progress:
    """One attempt's progress. Calling it never waits.

    Args:
        write: stores it for a claim, under a key; fenced.
        loop: in which to write.

    Example:
        context["progress"](40, 200, "nodes")
    """

    __slots__ = ("_claim", "_closed", "_key", "_latest", "_loop", "_task", "_telling", "_write")

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
        self._telling = self._closed = False
        self._task: asyncio.Task[None] | None = None

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Tell how far it is.

        Args:
            done, total: in whatever unit; from 0, and total above 0.
            note: what is being counted or done, one line of at most 200 characters, for people. No private data:
                operators see it.

        Raises:
            ValueError: numbers that cannot be, or a note that is no such line.
        """
        if not (math.isfinite(done) and math.isfinite(total) and done >= 0 and total > 0):
            raise ValueError(f"progress: {done!r} of {total!r} is not a part of a whole")
        if len(note) > _NOTE_LIMIT or not note.isprintable():
            raise ValueError(f"progress: a note is one line of at most {_NOTE_LIMIT} characters")
        self._latest = orjson.dumps({"done": done, "total": total, "note": note, "attempt": self._claim.attempt})
        if not self._telling:
            self._telling = True
            self._loop.call_soon_threadsafe(self._begin)

    def close(self) -> None:
        """The attempt is over: tell nothing more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if self._task is None and not self._closed:
            self._task = background.once("progress", self._tell())

    async def _tell(self) -> None:
        try:
            while latest := self._take():
                with suppress(RedisError, OSError, TimeoutError):
                    await self._write(self._claim, self._key, latest)
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._task = None

    def _take(self) -> bytes | None:
        self._telling = False  # whoever tells from here on, also a thread, has another look begun
        latest, self._latest = self._latest, None
        return latest
