"""Links without asyncio: a pool for each server, shared by threads. Counterpart of :mod:`.link` and :mod:`.links`.

A call has a connection of the pool for itself, and every step of it ends by the deadline of its thread
(:mod:`.deadline`). For sentinels or a cluster, a connection is made to the current primary (:mod:`.race`). When a
server is no longer the primary, its idle connections are closed; those in use find that out at their next reply.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

from redis import Redis
from redis.connection import Connection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError as ConnectionLost,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from .address import Address, Host, read_address
from .cluster import Slots, asking, guarded, owner, redirected, tag_of, with_moved
from .deadline import Pool, connection_kind, deadline
from .link import NOT_THE_PRIMARY, says
from .links import script_of
from .primary import questions, read_answer
from .race import Race
from .sentinel import is_primary
from .wire import Argument


class Calls(ABC):
    """Interface of a link for threads."""

    @abstractmethod
    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values."""

    def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply has any type
        """Send one command and return its reply.

        Raises:
            RedisError, OSError: it was rejected, or may or may not have been run.
        """
        (reply,) = self.call_many([command])
        if isinstance(reply, Exception):
            raise reply
        return reply


class SyncLink(Calls):
    """Link over a redis-py client. Thread-safe and fork-safe, as its pool is.

    Args:
        client: a client of :class:`SyncLinks`, or the application's own.
    """

    def __init__(self, client: Redis, *, finder: "Finder | None" = None) -> None:
        self._client = client
        self._finder = finder
        if finder is None:
            self.call = client.execute_command  # type: ignore[method-assign]  # the shortest way for the usual case

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values."""
        replies = exchange(self._client, commands)
        if self._finder and any(isinstance(one, ReadOnlyError) or says(one, *NOT_THE_PRIMARY) for one in replies):
            self._finder.refused = self._finder.named
            self._client.connection_pool.disconnect(inuse_connections=False)
            if isinstance(replies[0], ReadOnlyError):  # the command was not run
                replies = exchange(self._client, commands)
        return replies

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class SyncSlotLink(Calls):
    """Link for the keys of one hash tag on a cluster, with the interface of :class:`SyncLink`."""

    def __init__(self, links: "SyncSlotLinks", tag: str) -> None:
        self._links = links
        self._tag = tag

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values."""
        try:
            return self._sent([guarded(command, self._tag) for command in commands])
        except (RedisError, OSError):
            self._links.forget()
            raise

    def _sent(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        host = self._links.primary(self._tag)
        replies = exchange(self._links.at(host), commands)
        if there := redirected(replies[0], "MOVED", asked=host):
            self._links.moved(self._tag, there)
            host, replies = there, exchange(self._links.at(there), commands)
        if there := redirected(replies[0], "ASK", asked=host):
            replies = exchange(self._links.at(there), asking(commands))[1::2]
        if says(replies[0], "CLUSTERDOWN"):
            self._links.forget(refused=host)
        return replies


class SyncSlotLinks:
    """Pools for the primaries of a cluster, each shared by all keys there; see :mod:`.slots`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._slots: Slots = ()
        self._clients: dict[Host, Redis] = {}
        self._refused: Host | None = None

    def of(self, tag: str) -> SyncSlotLink:
        """Return the link for keys with this hash tag, braces included."""
        return SyncSlotLink(self, tag)

    def close(self) -> None:
        """Close the connections."""
        for client in list(self._clients.values()):
            client.close()

    def at(self, host: Host) -> Redis:
        """Return the client of one server; if two threads create one at once, the first one's is kept."""
        if host not in self._clients:
            self._clients.setdefault(host, open_client(self._address.at(host))[0])
        return self._clients[host]

    def primary(self, tag: str) -> Host:
        """Return the primary for this tag. Raises RedisError, OSError if it is not found."""
        host = owner(self._slots, tag)
        if host is not None:
            return host
        race = Race(
            self._address,
            lambda one: ask(one, self._address, tag),
            self._reach,
            lambda _: None,
            tag=tag,
            refused=self._refused,
        )
        host, self._slots = race.run()
        self._refused = None
        named = {one for _, _, one in self._slots}
        self._clients = {one: client for one, client in self._clients.items() if one in named}
        return host

    def moved(self, tag: str, host: Host) -> None:
        """Record a server's reply about the location of this tag's slot."""
        self._slots = with_moved(self._slots, tag, host)

    def forget(self, *, refused: Host | None = None) -> None:
        """Query the map of slots at the next call, and prefer another server than the refused one."""
        self._slots, self._refused = (), refused

    def _reach(self, host: Host) -> Host:
        self.at(host).execute_command("PING")  # type: ignore[no-untyped-call]
        return host


class SyncLinks:
    """Links of one address for threads: one per server, on a cluster one per hash tag over shared pools.

    Args:
        server: an address (see :mod:`.address` for its forms), or an application's client, which then serves all
            keys.

    Raises:
        ValueError: an address of another form.
    """

    def __init__(self, server: str | Redis) -> None:
        address = read_address(server) if isinstance(server, str) else None
        self._link: SyncLink | SyncSlotLinks
        if isinstance(server, Redis):
            self._link = SyncLink(server)
        elif address is not None and address.cluster:
            self._link = SyncSlotLinks(address)
        else:
            self._link = open_link(read_address(server))

    def of(self, tag: str) -> Calls:
        """Return the link for keys with this hash tag, braces included."""
        return self._link.of(tag) if isinstance(self._link, SyncSlotLinks) else self._link

    def within(self, seconds: float, tag: str = "") -> AbstractContextManager[None]:
        """Limit the time of calls; an application's client keeps its own timeouts."""
        del tag
        return deadline(seconds)

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument], *, seconds: float) -> Any:  # noqa: ANN401  a reply is what the script returns
        """Run a script and return its reply.

        Raises:
            RedisError, OSError: it was rejected, or may or may not have been run.
        """
        link = self.of(tag_of(keys[0]))
        command = script_of(script).command(keys, arguments)
        with deadline(seconds):
            try:
                return link.call(*command)
            except NoScriptError:  # a restart, a failover or SCRIPT FLUSH
                link.call("SCRIPT", "LOAD", script)
                return link.call(*command)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()


def exchange(client: Redis, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """Send commands on one connection and return their replies in order; errors are returned as values."""
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]
        except ResponseError as refusal:
            return [refusal]
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        return list(pipe.execute(raise_on_error=False))


def open_link(address: Address) -> SyncLink:
    """Return a link, which connects at the first call."""
    client, finder = open_client(address)
    return SyncLink(client, finder=finder)


def open_client(address: Address, tag: str = "") -> "tuple[Redis, Finder | None]":
    """Return a redis-py client whose calls are to be made within a :func:`.deadline.deadline`."""
    kind, arguments = connection_kind(address)
    if not address.asked:
        return Redis.from_pool(Pool(connection_class=kind, **arguments)), None
    finder = Finder(address, tag)
    found = cast("type[Connection]", type("Found", (_Found, kind), {}))
    return Redis.from_pool(Pool(connection_class=found, finder=finder, **arguments)), finder


class Finder:
    """Search for the primary for connections of redis-py.

    Attributes:
        named: the server that was reached last.
        refused: the server that was reached and is not the primary; used only if no other is named.
    """

    def __init__(self, address: Address, tag: str) -> None:
        self._address = address
        self._tag = tag
        self.named: Host | None = None
        self.refused: Host | None = None

    def find(self) -> Connection:
        """Return a connection to the primary after its handshake.

        Raises:
            RedisError, OSError: no sentinel or node knows, or no named server is reachable.
        """
        race = Race(
            self._address,
            lambda host: ask(host, self._address, self._tag),
            self._reach,
            Connection.disconnect,
            tag=self._tag,
            refused=self.refused,
        )
        connection, _ = race.run()
        self.named, self.refused = (connection.host, connection.port), None
        return connection

    def _reach(self, host: Host) -> Connection:
        kind, arguments = connection_kind(self._address.at(host))
        connection = kind(**arguments)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            if self._address.sentinels:
                _check_role(_said(connection, ("ROLE",)))
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]
            raise
        return connection


def ask(host: Host, address: Address, tag: str) -> Slots:
    """Query a sentinel or node for the primary. Raises RedisError, OSError."""
    kind, arguments = connection_kind(address.at(host))
    connection = kind(**(arguments | {"db": 0, "username": None, "password": None}))
    try:
        replies = [_said(connection, question) for question in questions(address)]
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]
    return read_answer(replies[-1], address, tag=tag, asked=host)


def _said(connection: Connection, command: Sequence[Argument]) -> Any:  # noqa: ANN401  a reply has any type
    connection.send_command(*command)  # type: ignore[no-untyped-call]
    try:
        return connection.read_response()  # type: ignore[no-untyped-call]
    except (ResponseError, AuthenticationError) as refusal:
        return refusal


class _Found:
    """Connection to the current primary: uses the socket of the connection that the finder has made."""

    def __init__(self, *, finder: Finder, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._finder = finder
        super().__init__(**options)

    def _connect(self) -> Any:  # noqa: ANN401  a socket, or what TLS makes of it
        reached = self._finder.find()
        self.host, self.port = reached.host, reached.port
        socket, reached._sock = reached._sock, None  # noqa: SLF001  redis-py has no other way to hand it over
        return socket


def _check_role(role: Any) -> None:  # noqa: ANN401  a reply has any type
    """Check that a server is the primary. Raises ConnectionLost if not, ResponseError without the right to ask."""
    if isinstance(role, Exception):
        raise role
    if not is_primary(role):
        raise ConnectionLost("the server that the sentinels name is not the primary (yet)")
