"""Connections without asyncio: a pool for each server, shared by threads. The counterpart of :mod:`.link`.

A call takes a connection of the pool for itself, and every step of it ends by the deadline of its thread
(:mod:`.deadline`). Behind sentinels, or on a cluster, a connection is made to whoever is the primary then. A
server that says it is none (any more) loses the connections that nobody uses; those in use find out by themselves.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from redis import Redis
from redis.connection import Connection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError as ConnectionLost,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from .address import Address, Host, read_address
from .cluster import guarded
from .deadline import Pool, connection_kind, deadline, seconds_left
from .link import NOT_THE_PRIMARY, Argument, says
from .primary import nobody_knows, questions, read_answer


class SyncLink:
    """Calls over a redis-py client. Thread-safe and fork-safe, as its pool is.

    Args:
        client: one of :class:`SyncLinks`, or the application's own.
        tag: on a cluster, the hash tag of all keys that will go over it, braces included.
    """

    def __init__(self, client: Redis, *, finder: "Finder | None" = None, tag: str = "") -> None:
        self._client = client
        self._finder = finder
        self._tag = tag

    def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply is whatever Redis says
        """Send one command; its reply.

        Raises:
            RedisError, OSError: it was refused, or may or may not have been carried out.
        """
        (reply,) = self.call_many([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def call_many(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Send commands over one connection; their replies in order, refusals among them as values."""
        ours = [guarded(command, self._tag) if self._tag else command for command in commands]
        replies = self._send(ours)
        return self._send(ours) if says(replies[0], "MOVED") else replies

    def _send(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        if len(commands) == 1:
            replies = [self._send_one(commands[0])]
        else:
            with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                replies = pipe.execute(raise_on_error=False)
        if self._finder and any(isinstance(one, ReadOnlyError) or says(one, *NOT_THE_PRIMARY) for one in replies):
            self._finder.refused = self._finder.named
            self._client.connection_pool.disconnect(inuse_connections=False)
        return replies

    def _send_one(self, command: Sequence[Argument]) -> Any:  # noqa: ANN401  a reply is whatever Redis says
        try:
            return self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except ResponseError as refusal:
            return refusal

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class SyncLinks:
    """One link to a server, whoever it is; on a cluster one for each lane group, made when it is first asked for.

    Args:
        server: an address (see :mod:`.address` for its forms), or an application's client, which then serves all.

    Raises:
        ValueError: an address of another form.
    """

    def __init__(self, server: str | Redis) -> None:
        self._address = read_address(server) if isinstance(server, str) else None
        self._links = {"": SyncLink(server)} if isinstance(server, Redis) else {}

    def of(self, tag: str) -> SyncLink:
        """The link for keys with this hash tag, braces included."""
        known = tag if self._address and self._address.cluster else ""
        if self._address and known not in self._links:
            self._links.setdefault(known, open_link(self._address, known))  # of two threads, one is the first
        return self._links[known]

    def close(self) -> None:
        """Close the connections."""
        for link in list(self._links.values()):
            link.close()


def open_link(address: Address, tag: str = "") -> SyncLink:
    """A link without connections yet."""
    client, finder = open_client(address, tag)
    return SyncLink(client, finder=finder, tag=tag)


def open_client(address: Address, tag: str = "") -> "tuple[Redis, Finder | None]":
    """A redis-py client whose calls are to be made within a :func:`.deadline.deadline`."""
    kind, arguments = connection_kind(address)
    if not address.asked:
        return Redis.from_pool(Pool(connection_class=kind, **arguments)), None
    finder = Finder(address, tag)
    found = cast("type[Connection]", type("Found", (_Found, kind), {}))
    return Redis.from_pool(Pool(connection_class=found, finder=finder, **arguments)), finder


class Finder:
    """Asks who the primary is, one after the other, each for its share of the time that is left.

    Attributes:
        named: the last answer.
        refused: who was named and is not the primary; believed only if nobody names another.
    """

    def __init__(self, address: Address, tag: str) -> None:
        self.address = address
        self._tag = tag
        self._asked = list(address.asked)
        self.named: Host | None = None
        self.refused: Host | None = None

    def find(self) -> Host:
        """Host and port of the primary.

        Raises:
            ConnectionLost: nobody could say.
        """
        answers = []
        for place, host in enumerate(self._asked):
            with deadline(seconds_left() / (len(self._asked) - place + 1)):
                answer = self._ask(host)
            if answer and answer != self.refused:
                self._asked = [host, *(other for other in self._asked if other != host)]
                self.named = answer
                return answer
            answers.append(answer)
        self.named = next(filter(None, answers), None)
        if self.named is None:
            raise nobody_knows(self.address, self._tag)
        return self.named

    def _ask(self, host: Host) -> Host | None:
        kind, arguments = connection_kind(self.address)
        secrets = {"db": 0, "username": None, "password": None}
        asking = kind(**(arguments | secrets | {"host": host[0], "port": host[1]}))
        try:
            replies = [_exchange(asking, question) for question in questions(self.address)]
        except (RedisError, OSError):
            return None
        finally:
            asking.disconnect()  # type: ignore[no-untyped-call]
        return read_answer(replies[-1], self.address, tag=self._tag, asked=host)


def _exchange(connection: Connection, command: Sequence[Argument]) -> Any:  # noqa: ANN401  a reply is whatever Redis says
    connection.send_command(*command)  # type: ignore[no-untyped-call]
    try:
        return connection.read_response()  # type: ignore[no-untyped-call]
    except (ResponseError, AuthenticationError) as refusal:
        return refusal


class _Found:
    """A connection to whoever is the primary when it is made."""

    _sock: Any

    def __init__(self, *, finder: Finder, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._finder = finder
        super().__init__(**options)

    def connect(self) -> None:
        if not self._sock:
            self.host, self.port = self._finder.find()
        super().connect()  # type: ignore[misc]  # the connection beside this

    def on_connect(self) -> None:
        super().on_connect()  # type: ignore[misc]  # as above
        if self._finder.address.sentinels and not _is_primary(_exchange(cast("Connection", self), ("ROLE",))):
            self._finder.refused = self._finder.named
            raise ConnectionLost("the server that the sentinels name is not the primary (yet)")
        self._finder.refused = None


def _is_primary(reply: Any) -> bool:  # noqa: ANN401  a reply is whatever Redis says
    """What a server says of its role. Raises ResponseError: its user may not ask."""
    if isinstance(reply, ResponseError):
        raise reply
    return bool(reply[0] == b"master")
