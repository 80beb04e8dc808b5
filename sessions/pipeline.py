"""A pipeline on a cluster whose commands are all for keys of one slot: it goes to the primary of that slot.

So it may be a transaction, and may hold commands without a key; redis-py's own takes neither. Each makes a
connection for itself: it is for people's questions, not for what happens a thousand times a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError as ConnectionLost,
    TimeoutError as RedisTimeoutError,
)

if TYPE_CHECKING:
    from .cluster import Cluster

_LOOK_AGAIN = (AskError, ClusterDownError, ConnectionLost, RedisTimeoutError)
"""After which the slot may be elsewhere; MOVED is a kind of ASK to redis-py."""


class SlotPipeline(Pipeline):
    """Collects commands until `execute`.

    Example:
        >>> async with client.pipeline(transaction=True) as pipe:
        ...     pipe.time()
        ...     pipe.hgetall("momentus:{mail}:counters")
        ...     (seconds, microseconds), counters = await pipe.execute()

    """

    def __init__(self, cluster: Cluster, *, transaction: bool) -> None:
        self._cluster = cluster
        super().__init__(ConnectionPool(), cluster.response_callbacks, transaction, None)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002  redis-py's own
        """Send them; their replies in order.

        Raises:
            RedisError, OSError: none, or all, or some of them may have been carried out.

        """
        if not self.command_stack:
            return []
        await self._cluster.initialize()
        node = self._cluster.get_node_from_key(self._a_key())
        if node is None:
            raise ConnectionLost("the slot has no primary")
        pool = ConnectionPool(connection_class=node.connection_class, **node.connection_kwargs)
        self.connection_pool = pool
        try:
            return await super().execute(raise_on_error)
        except _LOOK_AGAIN:
            await self._cluster.aclose()
            raise
        finally:
            await pool.disconnect()

    def _a_key(self) -> str:
        """Any one with a hash tag, since all have the same."""
        parts = (str(part) for words, _ in self.command_stack for part in words)
        return next((part for part in parts if "{" in part), "")
