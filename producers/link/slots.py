"""Links to the primaries of a cluster: one connection to each, shared by all keys there.

The map of slots to primaries is queried when the first command needs it, and again whenever a connection is needed
(:mod:`.primary`). Commands with the replies MOVED and ASK were not run, and are sent once more to the named
server.

Errors are those of :class:`.link.Link`; a script whose slot moves key by key is rejected as a whole
(:mod:`.cluster`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from .address import Address, Host
from .cluster import Slots, redirect_target, slot_owner, with_asking, with_guard_key, with_moved
from .command import Argument
from .link import CONNECT_SECONDS, Link, exchange, is_error, retrieve_error
from .primary import PrimaryUnknown, reach_primary


class SlotLinks:
    """Links of one event loop to one cluster."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._slots: Slots = ()
        self._links: dict[Host, Link] = {}
        self._refused: Host | None = None
        self._search: asyncio.Task[None] | None = None

    def of(self, tag: str) -> "SlotLink":
        """Return the link for keys with this hash tag, braces included."""
        return SlotLink(self, tag)

    async def close(self) -> None:
        """Close the connections."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait({self._search})
        for link in self._links.values():
            await link.close()

    def known_primary(self, tag: str) -> tuple[Host, Link] | None:
        """Return the known primary for this tag and the link to it, which may have no connection."""
        host = slot_owner(self._slots, tag)
        return None if host is None else (host, self.at(host))

    def at(self, host: Host) -> Link:
        """Return the link to one server."""
        if host not in self._links:
            self._links[host] = Link(self._address.at(host))
        return self._links[host]

    async def find_primary(self, tag: str) -> tuple[Host, Link]:
        """Return the primary for this tag and the link to it. Raises RedisError, OSError if it is not found."""
        known = self.known_primary(tag)
        if known is not None and known[1].connection:
            return known
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._found(tag))
            self._search.add_done_callback(retrieve_error)
        await asyncio.shield(
            self._search
        )  # one search serves all waiting callers, and continues when they are cancelled
        if (known := self.known_primary(tag)) is None:
            raise PrimaryUnknown(self._address, tag)
        return known

    def note_move(self, tag: str, host: Host) -> None:
        """Record a server's reply about the location of this tag's slot."""
        self._slots = with_moved(self._slots, tag, host)

    def note_refusal(self, host: Host) -> None:
        """Record that a server does not serve its slots: the next call searches, and prefers another."""
        self._slots, self._refused = (), host

    async def _found(self, tag: str) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, self._slots = await reach_primary(
                self._address, self._reach, lambda _: None, tag=tag, refused=self._refused
            )
        self._refused = None
        named = {host for _, _, host in self._slots}
        self._links = {host: link for host, link in self._links.items() if host in named or link.connection}

    async def _reach(self, host: Host) -> Link:
        await self.at(host).wire()
        return self.at(host)


class SlotLink:
    """Link for the keys of one hash tag, with the interface of :class:`.link.Link`."""

    def __init__(self, links: SlotLinks, tag: str) -> None:
        self._links = links
        self._tag = tag

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply has any type
        """Send one command and return its reply. Raises the errors of :meth:`.link.Link.call`."""
        (reply,) = await self.call_many([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def call_many(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Send commands together and return their replies in order; errors are returned as values."""
        ours = [with_guard_key(command, self._tag) for command in commands]
        host, link = await self._links.find_primary(self._tag)
        replies = await exchange(await link.wire(), ours)
        if there := redirect_target(replies[0], "MOVED", asked=host):
            self._links.note_move(self._tag, there)
            host, replies = there, await exchange(await self._links.at(there).wire(), ours)
        if there := redirect_target(replies[0], "ASK", asked=host):
            replies = (await exchange(await self._links.at(there).wire(), with_asking(ours)))[1::2]
        if is_error(replies[0], "CLUSTERDOWN"):
            self._links.note_refusal(host)
        return replies

    @property
    def connection(self) -> int:
        """The number of the current connection, counted from 1; 0 without one."""
        known = self._links.known_primary(self._tag)
        return 0 if known is None else known[1].connection

    def drop(self) -> None:
        """Close the connection; waiting callers get an error, and the next call opens another."""
        if known := self._links.known_primary(self._tag):
            known[1].drop()
