"""Token for the relays, sent by a task that no caller waits for.

It is a convenience: a relay looks each second anyway. So nothing is repeated, and while Redis does not answer
nothing is sent for a second.
"""

import asyncio
from asyncio import AbstractEventLoop
from time import monotonic
from weakref import WeakKeyDictionary

from ..errors import NotEnqueued
from ..queue import Queue
from .token import PAUSE_SECONDS, REST_SECONDS, wake_relay


class Waker:
    """Sender of tokens for one producer; each event loop has at most one task.

    Args:
        queue: the producer's.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._wanted: WeakKeyDictionary[AbstractEventLoop, set[str]] = WeakKeyDictionary()
        self._tasks: WeakKeyDictionary[AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
        self._rest_until = 0.0

    def wake(self, groups: frozenset[str]) -> None:
        """Have a token sent to the relays of these lane groups; returns at once."""
        if monotonic() < self._rest_until:
            return
        loop = asyncio.get_running_loop()
        self._wanted.setdefault(loop, set()).update(groups)
        task = self._tasks.get(loop)
        if task is None or task.done():
            self._tasks[loop] = loop.create_task(self._send_while_wanted(self._wanted[loop]))

    async def close(self) -> None:
        """End the task of the running loop; a token that it still had to send is sent."""
        loop = asyncio.get_running_loop()
        task, wanted = self._tasks.pop(loop, None), self._wanted.pop(loop, set())
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._send(wanted)

    async def _send_while_wanted(self, wanted: set[str]) -> None:
        while wanted:
            await self._send(wanted)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, wanted: set[str]) -> None:
        """Send a token for each of these groups, which are taken off the set."""
        groups = {*wanted}
        wanted.clear()
        try:
            for group in groups:
                await self._queue.run(wake_relay(group))
        except NotEnqueued:
            self._rest_until = monotonic() + REST_SECONDS
