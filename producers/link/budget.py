"""A bounded wait for Redis: an answer in time, or :class:`DeadlineMissed` in time."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from redis.exceptions import RedisError

Words = Callable[[Exception], Exception]
"""Turns a fault of Redis, of the network or of time into the caller's own error."""


class DeadlineMissed(TimeoutError):
    """Redis did not answer in time.

    Attributes:
        is_connected: whether there was a connection, so that the call may have taken effect.
    """

    def __init__(self, seconds: float, *, is_connected: bool) -> None:
        super().__init__(f"no {'answer' if is_connected else 'connection'} within {seconds * 1000:.0f} ms")
        self.is_connected = is_connected


class DroppableLink(Protocol):
    """A link, as far as a budget needs it."""

    @property
    def connection(self) -> int:
        """The number of the connection, 0 when there is none."""

    def drop(self) -> None:
        """Give up the connection."""


class Budget:
    """Bounds what happens inside, by asyncio. May be nested, to give several round trips one budget.

    A connection on which an answer is late is given up, so that nobody else waits behind a server that hangs.

    Args:
        link: what is waited for; None for a client that looks after its own connections.
        words: what to raise instead; left out, the fault itself.

    Raises (at the end):
        Late: the time is over.
    """

    __slots__ = ("_link", "_seconds", "_timeout", "_words")

    def __init__(self, seconds: float, link: DroppableLink | None, words: Words | None = None) -> None:
        self._seconds = seconds
        self._link = link
        self._words = words
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self._told(self._late()) from late
        if isinstance(error, TimeoutError) and not isinstance(error, DeadlineMissed):  # of an attempt to connect
            raise self._told(self._late()) from error
        if self._words is not None and isinstance(error, RedisError | OSError):
            raise self._words(error) from error

    def _told(self, late: DeadlineMissed) -> Exception:
        return late if self._words is None else self._words(late)

    def _late(self) -> DeadlineMissed:
        if self._link is None:
            return DeadlineMissed(self._seconds, is_connected=True)
        is_connected = bool(self._link.connection)
        self._link.drop()
        return DeadlineMissed(self._seconds, is_connected=is_connected)
