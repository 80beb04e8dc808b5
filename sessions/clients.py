"""The clients of one process: one for each event loop, since connections belong to the loop that made them.

So an application may keep one `Sessions` and call ``asyncio.run`` again and again, or serve each request in a loop
of its own (Flask's async views, ``async_to_sync``). A loop that has been closed leaves its sockets to the garbage
collector, because nothing can be awaited in it any more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.commands.core import AsyncScript


@dataclass(frozen=True, slots=True)
class Client:
    """A redis-py client with the scripts registered on it, by their names."""

    redis: Redis
    scripts: Mapping[str, AsyncScript]


class Clients:
    """Made when a loop first asks. May be shared by event loops and threads.

    Args:
        open_client: makes a client without connections yet.
        sources: the scripts' texts by name.
    """

    def __init__(self, open_client: Callable[[], Redis], sources: Mapping[str, str]) -> None:
        self._open_client = open_client
        self._sources = sources
        self._by_loop: dict[asyncio.AbstractEventLoop, Client] = {}
        self._lock = threading.Lock()

    def of_this_loop(self) -> Client:
        """The running loop's client."""
        loop = asyncio.get_running_loop()
        return self._by_loop.get(loop) or self._begin(loop)

    async def close(self) -> None:
        """Close the connections of the running loop; those of other loops that still run are theirs to close."""
        with self._lock:
            client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.redis.aclose()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> Client:
        """Begin with a new loop, and forget those that were closed."""
        redis = self._open_client()
        client = Client(redis, {name: redis.register_script(text) for name, text in self._sources.items()})
        with self._lock:
            self._by_loop = {one: known for one, known in self._by_loop.items() if not one.is_closed()}
            return self._by_loop.setdefault(loop, client)
