"""Who waits for a connection: the urgent first, and within one priority the first come."""

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

URGENT: Final = 0
NORMAL: Final = 1
BULK: Final = 2
_PRIORITIES: Final = 3

Thing = TypeVar("Thing")


class Waiting(Generic[Thing]):
    """Queues, one for each priority."""

    def __init__(self) -> None:
        self._queues: list[deque[asyncio.Future[Thing]]] = [deque() for _ in range(_PRIORITIES)]
        self._alone: set[asyncio.Future[Thing]] = set()

    def add(self, priority: int, *, alone: bool = False) -> "asyncio.Future[Thing]":
        """A new place at the end; `leave` must be called when its owner is cancelled.

        Args:
            alone: it takes nothing that somebody else is not done with.
        """
        waiter: asyncio.Future[Thing] = asyncio.get_running_loop().create_future()
        self._queues[priority].append(waiter)
        if alone:
            self._alone.add(waiter)
            waiter.add_done_callback(self._alone.discard)
        return waiter

    def leave(self, waiter: "asyncio.Future[Thing]", priority: int) -> Thing | None:
        """Give up the place; what had been handed over already is returned."""
        if waiter in self._queues[priority]:
            self._queues[priority].remove(waiter)
        if waiter.cancelled() or not waiter.done() or waiter.exception() is not None:
            return None
        return waiter.result()

    def next(self, *, urgent_only: bool, alone: bool = True) -> "asyncio.Future[Thing] | None":
        """Who is served next; no longer waiting.

        Args:
            alone: what there is to give is free; else nobody is served while one who wants it so is the next.
        """
        for queue in self._queues[: 1 if urgent_only else _PRIORITIES]:
            while queue and queue[0].done():
                queue.popleft()
            if queue:
                return queue.popleft() if alone or queue[0] not in self._alone else None
        return None

    def count(self, *, others: int) -> int:
        """How many wait; of those who are not urgent, count at most ``others``."""
        urgent, *rest = map(len, self._queues)
        return urgent + min(others, sum(rest))

    def fail(self, error: Exception) -> None:
        """Nobody is served any more: all get the error."""
        while (waiter := self.next(urgent_only=False)) is not None:
            waiter.set_exception(error)
