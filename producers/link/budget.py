"""Time limit for calls of Redis: a reply in time, or :class:`DeadlineMissed` in time."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from redis.exceptions import RedisError

Words = Callable[[Exception], Exception]
"""Function that turns a fault of Redis, of the network or of time into the caller's own error."""


class DeadlineMissed(TimeoutError):
    """Redis did not reply in time.

    Attributes:
        is_connected: True if there was a connection, so that the call may have taken effect.
    """

    def __init__(self, seconds: float, *, is_connected: bool) -> None:
        super().__init__(f"no {'answer' if is_connected else 'connection'} within {seconds * 1000:.0f} ms")
        self.is_connected = is_connected


class DroppableLink(Protocol):
    """Part of a link that a budget uses."""

    @property
    def connection(self) -> int:
        """The number of the current connection, 0 without one."""

    def drop(self) -> None:
        """Close the connection."""


class TimeBudget:
    """Context manager that limits the time of its body, by asyncio. Nested, several calls share one budget.

    A connection with an overdue reply is closed, so that no other caller waits for a stalled server. One that was
    opened within the budget stays: it had only a part of the time, and where opening takes most of a budget, each
    caller would close what the next one has to open again.

    Args:
        link: link to close; None for a client that manages its own connections.
        words: function that turns an error into the one to raise; by default errors are raised unchanged.

    Raises (at the end):
        DeadlineMissed: the time is up.
    """

    __slots__ = ("_connection", "_link", "_seconds", "_timeout", "_words")

    def __init__(self, seconds: float, link: DroppableLink | None, words: Words | None = None) -> None:
        self._seconds = seconds
        self._link = link
        self._words = words
        self._timeout = asyncio.timeout(seconds)
        self._connection = 0

    async def __aenter__(self) -> None:
        if self._link is not None:
            self._connection = self._link.connection
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
        connection = self._link.connection
        if connection == self._connection:
            self._link.drop()
        return DeadlineMissed(self._seconds, is_connected=bool(connection))
