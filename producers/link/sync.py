"""Links without asyncio, shared by threads. Counterpart of :mod:`.link` and :mod:`.links`.

A call has a connection of a pool for itself, and every step of it ends by the deadline of its thread
(:mod:`.deadline`). For sentinels, a connection is made to the current primary (:mod:`.race`). When a server is no
longer the primary, its idle connections are closed; those in use find that out at their next reply.
"""

import encodings.idna  # noqa: F401  a look-up of a host's name loads it; better now than in a call
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from redis import Redis

from .address import Address, Host, read_address
from .cluster import Slots
from .command import Argument, tag_of
from .deadline import deadline
from .link import NOT_THE_PRIMARY, is_error
from .links import script_of
from .primary import primary_commands, read_answer
from .race import Race
from .sync_pool import SyncPool
from .sync_wire import SyncWire, connect, open_wire


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

    def run_script(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:  # noqa: ANN401  a reply is what the script returns
        """Run a script, which is loaded when the server does not know it. Raises RedisError, OSError."""
        command = script_of(script).command(keys, arguments)
        (reply,) = self.call_many([command])
        if is_unknown_script(reply):  # a restart, a failover or SCRIPT FLUSH
            self.call("SCRIPT", "LOAD", script)
            return self.call(*command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    @abstractmethod
    def close(self) -> None:
        """Close the connections; the next call opens others."""


class SyncLink(Calls):
    """Link to one server, or to the primary that sentinels name. Thread-safe and fork-safe, as its pool is."""

    def __init__(self, address: Address, tag: str = "") -> None:
        self._finder = PrimaryFinder(address, tag) if address.asked else None
        self._pool = SyncPool(self._finder.find_primary if self._finder else lambda: open_wire(address))

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values."""
        replies = self._pool.exchange(commands)
        if self._finder and any(is_error(one, *NOT_THE_PRIMARY) for one in replies):
            self._finder.refused = self._finder.named
            self._pool.clear()
            if is_error(replies[0], "READONLY"):  # the command was not run
                replies = self._pool.exchange(commands)
        return replies

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._pool.clear()


class SyncLinks:
    """Links of one address for threads: one per server, on a cluster one per hash tag over shared pools.

    Args:
        server: an address (see :mod:`.address` for its forms), or an application's client, which then serves all
            keys.

    Raises:
        ValueError: the address is malformed, or the client cannot be used.
    """

    def __init__(self, server: str | Redis) -> None:
        from .application_client import SyncApplicationClient  # noqa: PLC0415  it is one of the links of this file
        from .sync_slots import SyncSlotLinks  # noqa: PLC0415  as above

        self._link: Calls | SyncSlotLinks
        if isinstance(server, Redis):
            self._link = SyncApplicationClient(server)
        elif type(server).__module__.startswith("redis."):
            raise ValueError("is a redis-py client for asyncio or a cluster; give a redis.Redis, or use `connect`")
        else:
            address = read_address(server)
            self._link = SyncSlotLinks(address) if address.cluster else SyncLink(address)

    def of(self, tag: str) -> Calls:
        """Return the link for keys with this hash tag, braces included."""
        return self._link if isinstance(self._link, Calls) else self._link.of(tag)

    def within(self, seconds: float, tag: str = "") -> AbstractContextManager[None]:
        """Limit the time of calls."""
        del tag
        return deadline(seconds)

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument], *, seconds: float) -> Any:  # noqa: ANN401  a reply is what the script returns
        """Run a script and return its reply.

        Raises:
            RedisError, OSError: it was rejected, or may or may not have been run.
        """
        with deadline(seconds):
            return self.of(tag_of(keys[0])).run_script(script, keys, arguments)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()


class PrimaryFinder:
    """Search for the primary, for the connections of a pool.

    Attributes:
        named: the server that was reached last.
        refused: the server that was reached and is not the primary; used only if no other is named.
    """

    def __init__(self, address: Address, tag: str) -> None:
        self._address = address
        self._tag = tag
        self.named: Host | None = None
        self.refused: Host | None = None

    def find_primary(self) -> SyncWire:
        """Return a connection to the primary after its handshake.

        Raises:
            RedisError, OSError: no sentinel or node knows, or no named server is reachable.
        """
        race = Race(
            self._address,
            lambda host: query_primary(host, self._address, self._tag),
            lambda host: open_wire(self._address, host),
            SyncWire.close,
            tag=self._tag,
            refused=self.refused,
        )
        wire, _ = race.run_race()
        self.named, self.refused = wire.server, None
        return wire


def query_primary(host: Host, address: Address, tag: str) -> Slots:
    """Query a sentinel or node for the primary. Raises RedisError, OSError."""
    wire = connect(address, host)
    try:
        *_, reply = wire.exchange(primary_commands(address))
    finally:
        wire.close()
    return read_answer(reply, address, tag=tag, asked=host)


def is_unknown_script(reply: object) -> bool:
    """Return True if the server does not know the script that it was to run."""
    return type(reply).__name__ == "NoScriptError" or is_error(reply, "NOSCRIPT")
