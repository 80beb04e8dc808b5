"""A redis-py client for an address: a server, the primary that sentinels name, or a cluster.

The number of connections is limited and every wait is bounded, so that a stalled server cannot pile up work. What
can go wrong is a RedisError or an OSError. Every call is for the keys of one hash tag, so the same code runs on
all of them.
"""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis, SSLConnection

from .address import Address, read_address
from .cluster import Cluster
from .finder import Finder, Found

CONNECTIONS = 32
"""At most so many at once from one process; a 33rd command waits for one of them."""


def connect(url: str, *, seconds: float = 1, wait: float = 1) -> Redis:
    """A client without connections yet. End with ``aclose``.

    Args:
        seconds: until a connection, or an answer, counts as lost.
        wait: seconds to wait for one of the connections to be free; a cluster's client does not wait.

    Returns:
        On a cluster a ``RedisCluster``, which has the same calls for keys of one slot, and neither transactions
        nor subscriptions.

    Raises:
        ValueError: an address of another form; its words quote nothing of the text, which may hold a password.

    Example:
        >>> client = connect("sentinel://127.0.0.1:26379/momentus/0")

    """
    address = read_address(url)
    if address.cluster:
        limits = _limits(seconds) | _check(address)
        return cast("Redis", Cluster.of(address, max_connections=CONNECTIONS, **limits))
    return Redis.from_pool(open_pool(url, seconds=seconds, kind=BlockingConnectionPool, timeout=wait))


def open_pool(
    url: str,
    *,
    seconds: float,
    kind: type[ConnectionPool] = ConnectionPool,
    **options: Any,  # noqa: ANN401  the pool's own
) -> ConnectionPool:
    """A pool for one server: the named one, whoever is the primary, or of a cluster any node that answers.

    Of a cluster that is of use for subscriptions alone: it carries what is published to every node.

    Args:
        options: what else this kind of pool takes.

    Raises:
        ValueError: as `connect`.

    """
    address = read_address(url)
    limits = _limits(seconds) | _check(address)
    options |= limits | {"max_connections": CONNECTIONS}
    if not address.asked:
        return kind.from_url(url, **options)
    found = cast("type[Connection]", type("FoundConnection", (Found, _class(address)), {}))
    finder = Finder(address, _class(address), limits)
    return kind(connection_class=found, finder=finder, **address.options, **options)


def _limits(seconds: float) -> dict[str, Any]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds}


def _check(address: Address) -> dict[str, Any]:
    return {"ssl_check_hostname": True} if address.secure else {}


def _class(address: Address) -> type[Connection]:
    return SSLConnection if address.secure else Connection
