"""redis-py's client for a cluster, with the parts of the single-server client that it lacks.

Errors that redis-py raises outside of its own RedisError become a lost connection. A command without a key goes to
one node, as it would to one server. Scripts are guarded (:mod:`.cluster`). When a node is lost, redis-py queries
the others once for its successor; the caller may repeat the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, cast

from redis.asyncio import Connection, ConnectionPool, RedisCluster, SSLConnection
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError as ConnectionLost,
    RedisClusterException,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from .address import Address
from .client_connection import CancellableConnection, CheckedConnection
from .cluster import with_guard_key
from .command import tag_of
from .redis_versions import cluster_options

_OF_NO_KEY = frozenset({"PING", "TIME"})
"""Commands without a key, sent to one node."""
_LOOK_AGAIN = (AskError, ClusterDownError, ConnectionLost, RedisTimeoutError)
"""Errors after which the slot may be elsewhere; to redis-py MOVED is a kind of ASK."""


class Cluster(RedisCluster):
    """RedisCluster with the parts of Redis's interface that it lacks, so callers need not know which they have."""

    @classmethod
    def of(cls, address: Address, **options: Any) -> Self:  # noqa: ANN401  redis-py's own
        """Return a client, which connects at the first call."""
        database = {"db": address.options["db"]} if "db" in address.options else {}
        client: Self = cls(
            startup_nodes=[ClusterNode(host, port) for host, port in address.cluster],
            ssl=address.secure,
            require_full_coverage=False,  # the fault of another slot does not concern this call
            **cluster_options(),
            **{name: value for name, value in address.options.items() if name != "db"},
            **options,
        )
        client.connection_kwargs |= database  # set directly: redis-py assumes that a cluster has only one database
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_kwargs |= database
        kind = SSLConnection if address.secure else Connection
        client.connection_kwargs["connection_class"] = type(
            kind.__name__, (CheckedConnection, CancellableConnection, kind), {}
        )  # for nodes found later
        return client

    async def __aenter__(self) -> Self:
        """Return the client, which connects at the first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client. redis-py 7 would not: it counts the entries, and there was none."""
        await self.aclose()

    def pipeline(self, transaction: bool | None = None, shard_hint: object = None) -> SlotPipeline:  # type: ignore[override]  # noqa: FBT001  redis-py's own
        """Return a pipeline for keys of one slot; a transaction by default, as on one server."""
        del shard_hint
        return SlotPipeline(self, transaction=transaction is not False)

    async def initialize(self, *arguments: Any, **options: Any) -> RedisCluster:  # noqa: ANN401  redis-py's own
        """Load the map of slots to nodes.

        Raises:
            ConnectionLost: no node has replied.
        """
        try:
            return await super().initialize(*arguments, **options)
        except RedisClusterException as error:
            raise ConnectionLost(str(_refusal(error) or error)) from error

    async def execute_command(self, *command: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """Send one command to the node of its keys.

        Raises:
            RedisError, OSError: also for errors of redis-py of other types.
        """
        if command[:2] == ("SCRIPT", "LOAD"):
            command = ("SCRIPT LOAD", *command[2:])  # the name by which redis-py sends it to every primary
        if command[0] in _OF_NO_KEY:
            options.setdefault("target_nodes", self.DEFAULT_NODE)
        try:
            return await super().execute_command(*with_guard_key(command, _tag(command)), **options)
        except RedisClusterException as error:
            raise ConnectionLost(str(error)) from error


def _tag(command: Sequence[Any]) -> str:
    """Return the hash tag of a script's keys; other commands need none."""
    return tag_of(command[3]) if command[0] == "EVALSHA" and int(command[2]) else ""


def _refusal(error: BaseException | None) -> ResponseError | None:
    """Return the server's error behind redis-py's, which always reports a server without cluster mode."""
    while error is not None and not isinstance(error, ResponseError):
        error = error.__cause__ or error.__context__
    return error


class SlotPipeline(Pipeline):
    """Pipeline for keys of one slot, sent to the primary of that slot.

    So it may be a transaction, and may hold commands without a key; redis-py's own pipeline supports neither. Each
    pipeline opens a connection: it is for operators' queries, not for frequent calls.

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
        """Send the commands and return their replies in order.

        Raises:
            RedisError, OSError: none, all, or some of the commands may have been run.
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
            return cast("list[Any]", await super().execute(raise_on_error))
        except _LOOK_AGAIN:
            await self._cluster.aclose()
            raise
        finally:
            await pool.disconnect()

    def _a_key(self) -> str:
        """Return any key with a hash tag, since all have the same one."""
        parts = (str(part) for words, _ in self.command_stack for part in words)
        return next((part for part in parts if "{" in part), "")
