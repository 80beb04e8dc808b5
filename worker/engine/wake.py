"""The wake-up: one blocking read per process over the lanes that have a free slot.

A full lane is left out of the read, so that its token goes to a worker that can use it. When a lane gets
a free slot while the read is on, the read is ended from another connection (CLIENT UNBLOCK) and begun
again with that lane in it. A watchdog ends a read that outlives its own time limit: after a reconnect the
server may never answer it (taskforcesh/bullmq 6.0.7 was released for that fault).
"""

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.events import emit

_BLOCK_SECONDS = 5
_WATCHDOG_SECONDS = 2
_PAUSE_SECONDS = 0.2


class Wake:
    """Tells which lane may have work.

    Args:
        listener: a client with a single connection of its own.
        commands: the client on which to ask for the end of a blocking read.
        on_wake: called with the wake key that had a token.
    """

    def __init__(self, listener: Redis, commands: Redis, on_wake: Callable[[str], None]) -> None:
        self._listener = listener
        self._commands = commands
        self._on_wake = on_wake
        self._wanted: frozenset[str] = frozenset()
        self._reading: frozenset[str] = frozenset()
        self._client_id: int | None = None
        self._changed = asyncio.Event()
        self._unblocking: asyncio.Task[None] | None = None

    async def watch(self, keys: frozenset[str]) -> None:
        """Read these wake keys from now on. Waits for nothing: a server that is away must not hold the pump."""
        if keys == self._wanted:
            return
        self._wanted = keys
        self._changed.set()
        if self._reading and not keys <= self._reading and self._unblocking is None:
            self._unblocking = asyncio.create_task(self._unblock())

    async def run(self) -> None:
        """Read until cancelled; faults of Redis are waited out."""
        while True:
            try:
                await self._read_once()
            except (RedisError, OSError, TimeoutError) as error:
                emit("wake.interrupted", error=type(error).__name__)
                self._client_id = None
                await self._listener.connection_pool.disconnect()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _read_once(self) -> None:
        if not self._wanted:
            self._changed.clear()
            await self._changed.wait()
        async with asyncio.timeout(_BLOCK_SECONDS + _WATCHDOG_SECONDS):
            if self._client_id is None:
                self._client_id = int(await self._listener.client_id())
            popped = await self._read()
        if popped:
            self._on_wake(popped[0].decode())

    async def _read(self) -> list[bytes] | None:
        self._reading = self._wanted
        try:
            return await self._listener.blpop(sorted(self._reading), timeout=_BLOCK_SECONDS)  # type: ignore[misc,no-any-return]  # redis-py types one method for both clients
        finally:
            self._reading = frozenset()

    async def _unblock(self) -> None:
        """End the read; if that fails, it ends by itself in five seconds."""
        try:
            if self._client_id is not None:
                await self._commands.client_unblock(self._client_id)
        except (RedisError, OSError) as error:
            emit("wake.interrupted", error=type(error).__name__)
        finally:
            self._unblocking = None

    async def close(self) -> None:
        """Close the listener's connection."""
        if self._unblocking is not None:
            self._unblocking.cancel()
        await self._listener.aclose()
