"""Search for the primary for threads: as :mod:`.primary`, with one thread per sentinel or node.

Every step ends by the deadline of the calling thread (:mod:`.deadline`). A thread that is late
closes the server that it reached.
"""

import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Generic

from redis.exceptions import RedisError, TimeoutError as RedisTimeoutError

from .address import Address, Host
from .cluster import Slots
from .deadline import seconds_left
from .primary import PrimaryUnknown, Reached, last_resort, named_by


class Race(Generic[Reached]):
    """One search for the primary, run once.

    Args:
        ask: queries one sentinel or node for the map of slots.
        reach, drop, tag, refused: as in :func:`.primary.reach_primary`.
    """

    def __init__(
        self,
        address: Address,
        ask: Callable[[Host], Slots],
        reach: Callable[[Host], Reached],
        drop: Callable[[Reached], object],
        *,
        tag: str = "",
        refused: Host | None = None,
    ) -> None:
        self._address, self._tag, self._refused = address, tag, refused
        self._ask, self._reach, self._drop = ask, reach, drop
        self._outcomes: SimpleQueue[tuple[Reached, Slots] | Exception | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._reaching: set[Host] = set()
        self._is_over = False

    def run_race(self) -> tuple[Reached, Slots]:
        """Return the connection to the primary and the map of slots that named it.

        Raises:
            RedisError, OSError: no sentinel or node knows, or no named server is reachable, in time.
        """
        for host in self._address.asked:
            work = copy_context()  # the deadline is in it
            threading.Thread(target=work.run, args=(self._follow, host), name="primary", daemon=True).start()
        troubles: list[Exception] = []
        for _ in self._address.asked:
            outcome = self._next()
            if isinstance(outcome, tuple):
                return outcome
            troubles += [outcome] if outcome else []
        slots, host = last_resort(troubles, self._refused)
        return self._reach(host), slots

    def _next(self) -> tuple[Reached, Slots] | Exception | None:
        try:
            return self._outcomes.get(timeout=seconds_left())
        except Empty:
            with self._lock:
                if self._is_over:
                    return self._outcomes.get()
                self._is_over = True
            raise RedisTimeoutError("Timeout connecting to the primary") from None

    def _follow(self, asked: Host) -> None:
        try:
            self._outcomes.put(self._followed(asked))
        except Exception as error:  # noqa: BLE001  raised by the thread that waits
            self._outcomes.put(error)

    def _followed(self, asked: Host) -> tuple[Reached, Slots] | None:
        """Connect to a server; None if another thread is connecting to it, or was first."""
        try:
            slots = self._ask(asked)
        except PrimaryUnknown:
            raise
        except (RedisError, OSError) as error:
            raise PrimaryUnknown(self._address, self._tag, error) from error
        named = named_by(slots, self._address, tag=self._tag, refused=self._refused)
        with self._lock:
            is_first = named not in self._reaching
            self._reaching.add(named)
        return self._taken(self._reach(named), slots) if is_first else None

    def _taken(self, reached: Reached, slots: Slots) -> tuple[Reached, Slots] | None:
        with self._lock:
            is_late, self._is_over = self._is_over, True
        if is_late:
            self._drop(reached)
        return None if is_late else (reached, slots)
