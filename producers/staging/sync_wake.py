"""Token for the relays, sent by a thread that no caller waits for: :mod:`.wake` without asyncio.

The thread, a daemon, begins with the first token, and ends when there was none for a while, so that a producer
that nobody closed can be collected.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep

from ..errors import NotEnqueued
from ..sync_queue import SyncQueue
from .token import PAUSE_SECONDS, REST_SECONDS, wake_relay

_IDLE_SECONDS = 5.0


class SyncWaker:
    """Sender of tokens for one producer. Thread-safe; a forked process gets a thread of its own.

    Args:
        queue: the producer's.
    """

    def __init__(self, queue: SyncQueue) -> None:
        self._queue = queue
        self._wanted: SimpleQueue[frozenset[str] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._rest_until = 0.0

    def wake(self, groups: frozenset[str]) -> None:
        """Have a token sent to the relays of these lane groups; returns at once."""
        if monotonic() < self._rest_until:
            return
        self._wanted.put(groups)
        thread = self._thread
        if thread is None or not thread.is_alive():  # nor is it in the child of a fork
            self._thread = thread = Thread(target=self._send_while_wanted, name="wake-relay", daemon=True)
            with suppress(RuntimeError):  # while the process ends there are no new threads
                thread.start()  # of two at once the second ends when it is idle

    def close(self) -> None:
        """End the thread; a token that it still had to send is sent, within the producer's budget."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._wanted.put(None)
            thread.join()

    def _send_while_wanted(self) -> None:
        try:
            while self._send([self._wanted.get(timeout=_IDLE_SECONDS), *self._waiting()]):
                sleep(PAUSE_SECONDS)
        except Empty:
            return

    def _waiting(self) -> Iterator[frozenset[str] | None]:
        """Yield what is waiting in the queue at this moment."""
        while not self._wanted.empty():
            yield self._wanted.get()

    def _send(self, wanted: Sequence[frozenset[str] | None]) -> bool:
        """Send a token for each of these groups. Returns False if the thread is to end."""
        try:
            for group in frozenset[str]().union(*(groups for groups in wanted if groups)):
                self._queue.run(wake_relay(group))
        except NotEnqueued:
            self._rest_until = monotonic() + REST_SECONDS
        return None not in wanted
