"""Orders of operators to one worker, read with its heartbeat.

    quiet    claim no new jobs, let the running ones end, and stay
    resume   claim jobs again
    stop     claim no new jobs, let the running ones end within the grace, and exit, as by SIGTERM

    runs <──resume── quiet
     │  ──quiet──>     │
     └────stop────┬────┘
                stops

An order is a message: the worker acts on it once, when its text changes, and its state is its own. So an order
that expires changes nothing, and a quiet worker stays so while Redis is down. A stopping worker obeys no further
orders.
"""

import time
from asyncio import AbstractEventLoop
from typing import Literal, get_args

Order = Literal["quiet", "resume", "stop"]
WorkState = Literal["runs", "quiet", "stops"]


class OrderBook:
    """The latest order of each lane group that a worker has read."""

    def __init__(self) -> None:
        self._latest: dict[str, bytes] = {}

    def find_new(self, tag: str, found: bytes | None) -> Order | None:
        """Return an order that the worker has not seen yet; None for none, or one of a later version.

        >>> book = OrderBook()
        >>> book.find_new("{mail}", b"quiet"), book.find_new("{mail}", b"quiet"), book.find_new("{mail}", b"dance")
        ('quiet', None, None)
        """
        if found is None or self._latest.get(tag) == found:
            return None
        self._latest[tag] = found
        return next((one for one in get_args(Order) if one.encode() == found), None)


class LoopProbe:
    """Delay of the event loop, measured from the thread that sends the heartbeats, even if the loop hangs."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._asked = 0.0
        self._lag: float | None = 0.0

    def measure(self) -> float:
        """Return how many seconds the last probe waited or still waits for the loop; then send the next one."""
        lag = time.monotonic() - self._asked if self._lag is None else self._lag
        if self._lag is not None:
            self._asked, self._lag = time.monotonic(), None
            self._loop.call_soon_threadsafe(self._reply)
        return lag

    def _reply(self) -> None:
        self._lag = time.monotonic() - self._asked
