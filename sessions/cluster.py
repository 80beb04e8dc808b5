"""redis-py's client for a cluster, with what lets one code run on a server and on a cluster.

What redis-py raises outside of its own RedisError becomes a lost connection. A command without a key goes to one
node, as it would to one server. Scripts are guarded, below. When a node is lost, redis-py asks the others once who
has taken over; the caller may ask again.
"""

from __future__ import annotations

from typing import Any, Self

from redis.asyncio import Connection, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ConnectionError as ConnectionLost, RedisClusterException, ResponseError

from .address import Address
from .idle import Tried
from .pipeline import SlotPipeline

_OF_NO_KEY = frozenset({"PING", "TIME"})
"""Asked of one node, as of one server."""


class Cluster(RedisCluster):
    """redis-py's, with what lets one code run on a server and on a cluster."""

    @classmethod
    def of(cls, address: Address, **options: Any) -> Self:  # noqa: ANN401  redis-py's own
        """A client without connections yet."""
        database = {"db": address.options["db"]} if "db" in address.options else {}
        client: Self = cls(
            startup_nodes=[ClusterNode(host, port) for host, port in address.cluster],
            ssl=address.secure,
            require_full_coverage=False,  # another slot's fault is not ours
            cluster_error_retry_attempts=1,
            connection_error_retry_attempts=0,
            **{name: value for name, value in address.options.items() if name != "db"},
            **options,
        )
        client.connection_kwargs |= database  # behind its back: it knows of no cluster that has more than one
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_kwargs |= database
        kind = SSLConnection if address.secure else Connection
        client.connection_kwargs["connection_class"] = type(
            kind.__name__, (Tried, kind), {}
        )  # for nodes found later
        return client

    async def __aenter__(self) -> Self:
        """Connect at the first call, not here."""
        return self

    def pipeline(self, transaction: bool | None = None, shard_hint: object = None) -> SlotPipeline:  # type: ignore[override]  # noqa: FBT001  redis-py's own
        """Commands for keys of one slot, as a transaction unless it is said otherwise, like that of one server."""
        del shard_hint
        return SlotPipeline(self, transaction=transaction is not False)

    async def initialize(self) -> RedisCluster:
        """Find out which node has which slots.

        Raises:
            ConnectionLost: no node could say.

        """
        try:
            return await super().initialize()
        except RedisClusterException as error:
            raise ConnectionLost(str(_refusal(error) or error)) from error

    async def execute_command(self, *command: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """Send one command to where its keys are.

        Raises:
            RedisError, OSError: also where redis-py raises what is neither.

        """
        if command[:2] == ("SCRIPT", "LOAD"):
            command = ("SCRIPT LOAD", *command[2:])  # the name by which redis-py sends it to every primary
        if command[0] in _OF_NO_KEY:
            options.setdefault("target_nodes", self.DEFAULT_NODE)
        try:
            return await super().execute_command(*_guarded(command), **options)
        except RedisClusterException as error:
            raise ConnectionLost(str(error)) from error


def _refusal(error: BaseException | None) -> ResponseError | None:
    """The server's own words behind redis-py's, which calls every refusal a server without cluster mode."""
    while error is not None and not isinstance(error, ResponseError):
        error = error.__cause__ or error.__context__
    return error


def _guarded(command: tuple[Any, ...]) -> tuple[Any, ...]:
    """A script's call with one key more, that never exists, in the slot of the first.

    While a slot moves to another primary key by key, a server refuses what declares a key that is not there, but
    runs a script up to the first undeclared one that is not. So the script is refused as a whole.

    Example:
        >>> _guarded(("EVALSHA", "sha", 1, "a:{mail}", "argument"))
        ('EVALSHA', 'sha', 2, 'a:{mail}', 'momentus:{mail}:never', 'argument')

    """
    if command[0] != "EVALSHA" or not int(command[2]):
        return command
    behind = 3 + int(command[2])
    tag = str(command[3]).partition("{")[2].partition("}")[0]
    guard = f"momentus:{{{tag}}}:never"
    return (*command[:2], int(command[2]) + 1, *command[3:behind], guard, *command[behind:])
