"""redis-py's asyncio client for an address: a server, the primary that sentinels name, or a cluster.

For operators' commands and code that needs redis-py; calls of backends use :mod:`.links`.

The number of connections is limited and every wait is bounded, so that work cannot pile up behind a stalled
server. Errors are RedisError or OSError. Every call is for the keys of one hash tag, so the same code runs on a
server and on a cluster.
"""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)

from .address import Address, read_address
from .client_connection import CancellableConnection, CheckedConnection, PrimaryConnection
from .client_of_cluster import Cluster
from .redis_versions import connection_options

CONNECTIONS = 32
"""Largest number of connections of one process; a 33rd command waits for one of them."""


def connect(url: str, *, seconds: float = 1, wait: float = 1) -> Redis:
    """Return a client, which connects at the first call. Close it with ``aclose``.

    Args:
        seconds: time after which a connection, or a reply, counts as lost.
        wait: seconds to wait for a free connection; a cluster's client does not wait.

    Returns:
        On a cluster a ``RedisCluster``, which has the same calls for keys of one slot, but neither transactions
        nor subscriptions.

    Raises:
        ValueError: the address is malformed; the message does not quote it, because it may hold a password.

    Example:
        >>> client = connect("sentinel://127.0.0.1:26379/momentus/0")
    """
    address = read_address(url)
    if address.cluster:
        limits = _limits(seconds) | _check(address)
        return cast("Redis", Cluster.of(address, max_connections=CONNECTIONS, **limits))
    pool = open_pool(url, seconds=seconds, kind=BlockingConnectionPool, tried=True, timeout=wait)
    return Redis.from_pool(pool)


def open_pool(
    url: str,
    *,
    seconds: float,
    kind: type[ConnectionPool] = ConnectionPool,
    tried: bool = False,
    tag: str = "",
    **options: Any,  # noqa: ANN401  the pool's own
) -> ConnectionPool:
    """Return a pool for one server: the named one, the primary, or on a cluster the primary for a hash tag.

    Args:
        tag: on a cluster, the hash tag of all keys and channels, braces included.
        tried: check connections that were idle for a while before their use; not for subscriptions, whose messages
            would be taken for the reply.
        options: further arguments of this kind of pool.

    Raises:
        ValueError: as in `connect`.
    """
    address = read_address(url)
    options |= _limits(seconds) | _check(address) | {"max_connections": CONNECTIONS}
    base = _class(address)
    before: tuple[type, ...] = (CheckedConnection, CancellableConnection) if tried else (CancellableConnection,)
    if address.asked:
        before = (PrimaryConnection, *before)
        options |= {"address": address, "tag": tag}
    connection = cast("type[Connection]", type(base.__name__, (*before, base), {}))
    return kind(**(address.options | options | {"connection_class": connection}))


def _limits(seconds: float) -> dict[str, Any]:
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        **connection_options(),
    }


def _check(address: Address) -> dict[str, Any]:
    return {"ssl_check_hostname": True} if address.secure else {}


def _class(address: Address) -> type[Connection]:
    if "path" in address.options:
        return cast("type[Connection]", UnixDomainSocketConnection)
    return SSLConnection if address.secure else Connection
