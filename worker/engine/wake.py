"""The wake-up: one blocking read over the lanes with a free slot.

A full lane is left out of the read, so that its token goes to a worker that can use it. When a lane gets a free
slot during the read, another connection ends the read (CLIENT UNBLOCK), and it is restarted with that lane. A
watchdog ends a read that exceeds its own time limit: after a reconnect the server may never reply to it
(taskforcesh/bullmq 6.0.7 was released for that fault), and a worker that was paused meanwhile must not start a job
whose lease may have lapsed.

A claim is sent behind the read, so that the job comes with the token (:mod:`worker.engine.standing_claim`).

A user without the right to CLIENT ID or CLIENT UNBLOCK reads for a second at a time instead. Without BLPOP the
wake-up is missing, and the pump's safety poll finds due jobs. Both are logged, without a reconnect.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

import background
from producers.link import Link
from producers.rights import missing_right
from worker.engine.standing_claim import StandingClaim
from worker.events import emit, event

_WAKE_INTERRUPTED = event("wake.interrupted")
_REDIS_REFUSED = event("redis.refused")

_BLOCK_SECONDS = 5
_BLOCK_SECONDS_SHORT = 1
"""Duration of a read that no other connection can end, or with a claim behind it."""
_WATCHDOG_SECONDS = 2
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE = 2.0
_LONGEST_PAUSE_REFUSED = 30.0
"""Pause between two reads that a missing right refuses: an operator must grant it first."""


class Wake:
    """The blocking read that finds lanes with new work.

    Args:
        listener: a link for the read only: a command sent behind a blocking read waits for its end.
        commands: the link for the CLIENT UNBLOCK command.
        on_wake: called with the wake key that had a token, unless the claim behind the read looked at its lane.
        standing: the claim behind the read.
    """

    def __init__(
        self, listener: Link, commands: Link, on_wake: Callable[[str], None], standing: StandingClaim
    ) -> None:
        self._listener = listener
        self._commands = commands
        self._on_wake = on_wake
        self.standing = standing
        self._wanted: frozenset[str] = frozenset()
        self._reading: frozenset[str] = frozenset()
        self._client_id = 0
        self._numbered = 0
        """The listener's connection to which the client id belongs; 0 for none."""
        self._can_end = True
        """True if another connection can end a read."""
        self._is_ended = False
        """True if another connection was told to end the read."""
        self._changed = asyncio.Event()
        self._unblocking: asyncio.Task[None] | None = None

    async def watch_keys(self, keys: frozenset[str]) -> None:
        """Read these wake keys from now on. Does not block: a server that is down must not delay the pump."""
        if keys == self._wanted:
            return
        self._wanted = keys
        self._changed.set()
        if not keys <= self._reading:
            self.end_read()

    def end_read(self) -> None:
        """End the read that is under way, once. Does not block."""
        if self._reading and self._unblocking is None and self._can_end and not self._is_ended:
            self._is_ended = True
            self._unblocking = background.start_once("unblocking", self._unblock())

    async def run(self) -> None:
        """Read until cancelled; while Redis is down, retry with growing pauses."""
        failures = 0
        while True:
            try:
                await self._read_once()
                failures = 0
            except (RedisError, OSError, TimeoutError) as error:
                failures += 1
                if right := missing_right(error):
                    emit(_REDIS_REFUSED, right=right, part="the wake-up")
                else:
                    emit(_WAKE_INTERRUPTED, error=type(error).__name__)
                    self._listener.drop()
                await asyncio.sleep(
                    jittered_pause(failures, longest=_LONGEST_PAUSE_REFUSED if right else _LONGEST_PAUSE)
                )

    async def _read_once(self) -> None:
        if not self._wanted:
            self._changed.clear()
            await self._changed.wait()
        if not self._numbered or self._listener.connection != self._numbered:
            async with asyncio.timeout(_BLOCK_SECONDS + _WATCHDOG_SECONDS):
                await self._number()
        replies = await self._read()
        if looked_at := self.standing.read_replies(replies[1:]):
            await asyncio.sleep(0)  # a job starts before the next read is written
        if isinstance(replies[0], Exception):
            raise replies[0]
        if replies[0] and (key := replies[0][0].decode()) not in looked_at:
            self._on_wake(key)

    async def _number(self) -> None:
        """Read the server's client id of the listener's connection."""
        try:
            self._client_id = int(await self._listener.call("CLIENT", "ID"))
            self._can_end = True
        except ResponseError as error:
            if not self._cannot_end(error):
                raise
        self._numbered = self._listener.connection

    def _cannot_end(self, error: Exception) -> bool:
        """Return True if a right is missing, so that reads end by timeout only; log it once."""
        right = missing_right(error)
        if right and self._can_end:
            emit(_REDIS_REFUSED, right=right, part="the end of a blocking read")
        self._can_end = self._can_end and not right
        return bool(right)

    async def _read(self) -> list[Any]:
        """Return the reply of the read, and those of the claim behind it."""
        self._reading, self._is_ended = self._wanted, False
        keys = sorted(self._reading)
        claim = self.standing.place(keys) if self._can_end else []
        seconds = _BLOCK_SECONDS if self._can_end and not claim else _BLOCK_SECONDS_SHORT
        try:
            async with asyncio.timeout(seconds + _WATCHDOG_SECONDS):
                return await self._listener.call_many([("BLPOP", *keys, seconds), *claim])
        except BaseException:
            self._listener.drop()  # or a read that nobody waits for takes a token, and a job with it
            self.standing.lose_replies()
            raise
        finally:
            self._reading = frozenset()

    async def _unblock(self) -> None:
        """End the read; if that fails it ends by its timeout, or with its connection if a claim stands behind."""
        try:
            async with asyncio.timeout(_WATCHDOG_SECONDS):
                if not await self._commands.call("CLIENT", "UNBLOCK", self._client_id):
                    self._is_ended = False  # Redis has not had the read yet
        except (RedisError, OSError, TimeoutError) as error:
            if not self._cannot_end(error):
                emit(_WAKE_INTERRUPTED, error=type(error).__name__)
            if self.standing.stands:
                self._listener.drop()
        finally:
            self._unblocking = None

    async def close(self) -> None:
        """Close the listener's connection."""
        if self._unblocking is not None:
            self._unblocking.cancel()
        await self._listener.close()


def jittered_pause(failures: int, *, longest: float) -> float:
    """Return the seconds until the next try: twice as many after each failure, with jitter.

    >>> 0.1 <= jittered_pause(1, longest=2.0) <= 0.2
    True
    >>> 1.0 <= jittered_pause(99, longest=2.0) <= 2.0
    True
    """
    seconds = min(longest, _PAUSE_SECONDS * 2.0 ** min(failures - 1, 20))
    return seconds * random.uniform(0.5, 1)  # noqa: S311  jitter, not a secret
