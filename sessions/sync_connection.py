"""A redis-py client without asyncio for an address: the counterpart of :mod:`.connection`.

What can go wrong is a RedisError or an OSError. Every step of a call (a connect, a question, a reply) ends by the
client's timeout; a call that must first find the primary takes several, and who is asked for it gets a part.
"""

from __future__ import annotations

from typing import Any, cast

from redis import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError as ConnectionLost,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from .address import Address, Host, read_address
from .idle import SyncTried
from .sync_cluster import SyncCluster


def connect(url: str, *, seconds: float) -> Redis:
    """A client without connections yet, safe to share between threads. End with ``close``.

    Args:
        seconds: until a connection, or an answer, counts as lost.

    Returns:
        On a cluster a ``SyncCluster``, which has the scripts of a client and no other calls.

    Raises:
        ValueError: an address of another form; its words quote nothing of the text, which may hold a password.
    """
    address = read_address(url)
    options: dict[str, Any] = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    if (
        address.secure
    ):  # redis-py leaves the host name unchecked, and would show the password to any good certificate
        options["ssl_check_hostname"] = True
    options |= {"lib_name": None, "lib_version": None}  # each would cost the first call a round trip
    base = _class(address)
    if address.cluster:
        return cast("Redis", SyncCluster(address, _before(base, SyncTried), options))
    if address.asked:
        options |= {"connection_class": _before(base, _Found, SyncTried), "finder": Finder(address, base, options)}
    else:
        options |= {"connection_class": _before(base, SyncTried)}
    return Redis.from_pool(ConnectionPool(**(address.options | options)))


def _class(address: Address) -> type[Connection]:
    if "path" in address.options:
        return cast("type[Connection]", UnixDomainSocketConnection)
    return SSLConnection if address.secure else Connection


def _before(base: type[Connection], *kinds: type) -> type[Connection]:
    """One of redis-py's classes with ours before it."""
    return cast("type[Connection]", type(base.__name__, (*kinds, base), {}))


class Finder:
    """Asks the sentinels one after the other; who answered is asked first the next time.

    Args:
        kind, options: of the connections over which to ask.
    """

    def __init__(self, address: Address, kind: type[Connection], options: dict[str, Any]) -> None:
        files = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
        part = options["socket_timeout"] / (len(address.sentinels) + 1)
        self._options = options | files | {"socket_timeout": part, "socket_connect_timeout": part}
        self._kind = kind
        self._address = address
        self._asked = address.sentinels

    def find(self) -> Host:
        """Where the primary is.

        Raises:
            ConnectionLost: nobody could say.
        """
        for host in self._asked:
            try:
                found = self._ask(host)
            except (RedisError, OSError) as error:
                trouble: Exception | None = error
                continue
            if found:
                self._asked = (host, *(other for other in self._asked if other != host))
                return found
            trouble = None
        reason = f"no sentinel knows the primary of {self._address.service!r}; check the address"
        raise ConnectionLost(reason) from trouble

    def _ask(self, host: Host) -> Host | None:
        asking = self._kind(host=host[0], port=host[1], **self._options)
        try:
            asking.connect()  # type: ignore[no-untyped-call]
            if password := self._address.options.get("password"):
                _exchange(asking, "AUTH", password)  # a sentinel without a password refuses it, which does no harm
            answer = _exchange(asking, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
        finally:
            asking.disconnect()  # type: ignore[no-untyped-call]
        return (answer[0].decode(), int(answer[1])) if isinstance(answer, list) else None


def _exchange(connection: Connection, *command: str) -> Any:  # noqa: ANN401  a reply is whatever Redis says
    connection.send_command(*command)  # type: ignore[no-untyped-call]
    try:
        return connection.read_response()  # type: ignore[no-untyped-call]
    except (ResponseError, AuthenticationError) as refusal:
        return refusal


class _Found:
    """A connection to whom the sentinels name when it is made. Stands before one of redis-py's classes."""

    _sock: Any

    def __init__(self, *, finder: Finder, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._finder = finder
        super().__init__(**options)

    def connect(self) -> None:
        """Find out where to, and go there."""
        if not self._sock:
            self.host, self.port = self._finder.find()
        super().connect()  # type: ignore[misc]  # the connection behind this

    def on_connect(self) -> None:
        """Greet the server, and see whether it is what it was said to be."""
        super().on_connect()  # type: ignore[misc]  # as above
        role = _exchange(cast("Connection", self), "ROLE")
        if isinstance(role, ResponseError):
            raise role
        if role[0] != b"master":
            raise ConnectionLost("the server that the sentinels name is not the primary (yet)")

    def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """A reply; a server that is no longer the primary loses its connection."""
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        except ReadOnlyError as error:
            self.disconnect()  # type: ignore[attr-defined]  # as above
            raise ConnectionLost("the server is no longer the primary") from error
