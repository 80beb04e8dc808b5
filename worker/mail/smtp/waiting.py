"""Queues of the mails that wait for a connection, by lane and in order of arrival."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from worker.mail.smtp.shares import BULK as BULK, NORMAL as NORMAL, PRIORITIES, URGENT as URGENT, Shares

Resource = TypeVar("Resource")


class WaitingMails(Generic[Resource]):
    """Queues of waiting mails, one for each lane.

    Args:
        shares: shares of the lanes, which decide between them.
    """

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares or Shares()
        self._queues: list[deque[asyncio.Future[Resource]]] = [deque() for _ in PRIORITIES]
        self._alone: set[asyncio.Future[Resource]] = set()

    def add(self, priority: int, *, alone: bool = False) -> "asyncio.Future[Resource]":
        """Add a mail at the end of its queue; call `remove` when its owner is cancelled.

        Args:
            alone: True if the mail takes only a connection on which no other mail awaits its reply.
        """
        waiter: asyncio.Future[Resource] = asyncio.get_running_loop().create_future()
        queue = self._queues[priority]
        if not queue:
            self._shares.record_first_waiting(priority)
        queue.append(waiter)
        if alone:
            self._alone.add(waiter)
            waiter.add_done_callback(self._alone.discard)
        return waiter

    def remove(self, waiter: "asyncio.Future[Resource]", priority: int) -> Resource | None:
        """Remove a mail from its queue, and return the connection if it had got one already."""
        if waiter in self._queues[priority]:
            self._queues[priority].remove(waiter)
        if waiter.cancelled() or not waiter.done() or waiter.exception() is not None:
            return None
        return waiter.result()

    def take_next(self, *, urgent_only: bool, alone: bool = True) -> "tuple[asyncio.Future[Resource], int] | None":
        """Take the next mail to serve and its priority, or None; its lane counts one more connection in use.

        Args:
            alone: True if the connection is free of other mails; if not, a mail added with ``alone`` is not
                served.
        """
        lanes = self._lanes()
        if not lanes or (urgent_only and lanes[0] != URGENT):
            return None
        lane = lanes[0] if urgent_only or len(lanes) == 1 else self._shares.choose_lane(lanes)
        queue = self._queues[lane]
        if not alone and queue[0] in self._alone:
            return None
        self._shares.record_service(lane, lanes)
        return queue.popleft(), lane

    @property
    def first_priority(self) -> int | None:
        """Highest priority of the waiting mails, or None."""
        lanes = self._lanes()
        return lanes[0] if lanes else None

    def count(self, *, others: int) -> int:
        """Count the waiting mails; at most ``others`` of those that are not urgent."""
        urgent, *rest = map(len, self._queues)
        return urgent + min(others, sum(rest))

    def fail_all(self, error: Exception) -> None:
        """Fail all waiting mails with this error."""
        for queue in self._queues:
            while queue:
                if not (waiter := queue.popleft()).done():
                    waiter.set_exception(error)

    def _lanes(self) -> list[int]:
        """Return the lanes with waiting mails, the most important first."""
        found = []
        for lane, queue in enumerate(self._queues):
            while queue and queue[0].done():
                queue.popleft()
            if queue:
                found.append(lane)
        return found
