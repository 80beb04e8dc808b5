"""Who waits for a connection: by lane, and within a lane the first come."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from worker.mail.smtp.shares import BULK as BULK, NORMAL as NORMAL, PRIORITIES, URGENT as URGENT, Shares

Thing = TypeVar("Thing")


class WaitingMails(Generic[Thing]):
    """Queues, one for each lane.

    Args:
        shares: decides between the lanes.
    """

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares or Shares()
        self._queues: list[deque[asyncio.Future[Thing]]] = [deque() for _ in PRIORITIES]
        self._alone: set[asyncio.Future[Thing]] = set()

    def add(self, priority: int, *, alone: bool = False) -> "asyncio.Future[Thing]":
        """A new place at the end; `leave` must be called when its owner is cancelled.

        Args:
            alone: it takes nothing that somebody else is not done with.
        """
        waiter: asyncio.Future[Thing] = asyncio.get_running_loop().create_future()
        queue = self._queues[priority]
        if not queue:
            self._shares.begin_to_wait(priority)
        queue.append(waiter)
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

    def next(self, *, urgent_only: bool, alone: bool = True) -> "tuple[asyncio.Future[Thing], int] | None":
        """Who is served next, no longer waiting, and its priority; its lane has one more in use.

        Args:
            alone: what there is to give is free; else nobody is served while one who wants it so is the next.
        """
        lanes = self._lanes()
        if not lanes or (urgent_only and lanes[0] != URGENT):
            return None
        lane = URGENT if urgent_only else lanes[0] if len(lanes) == 1 else self._shares.choose(lanes)
        queue = self._queues[lane]
        if not alone and queue[0] in self._alone:
            return None
        self._shares.serve(lane, lanes)
        return queue.popleft(), lane

    @property
    def first(self) -> int | None:
        """The highest priority for which somebody waits."""
        lanes = self._lanes()
        return lanes[0] if lanes else None

    def count(self, *, others: int) -> int:
        """How many wait; of those who are not urgent, count at most ``others``."""
        urgent, *rest = map(len, self._queues)
        return urgent + min(others, sum(rest))

    def fail(self, error: Exception) -> None:
        """Nobody is served any more: all get the error."""
        for queue in self._queues:
            while queue:
                if not (waiter := queue.popleft()).done():
                    waiter.set_exception(error)

    def _lanes(self) -> list[int]:
        """Those in which somebody waits, the most important first."""
        found = []
        for lane, queue in enumerate(self._queues):
            while queue and queue[0].done():
                queue.popleft()
            if queue:
                found.append(lane)
        return found
