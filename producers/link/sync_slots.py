"""Links for threads to the primaries of a cluster: a pool for each, shared by all keys there (:mod:`.slots`)."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from .address import Address, Host
from .cluster import Slots, redirect_target, slot_owner, with_asking, with_guard_key, with_moved
from .command import Argument
from .link import is_error
from .race import Race
from .sync import Calls, SyncLink, query_primary


class SyncSlotLinks:
    """Links of one process to one cluster."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._slots: Slots = ()
        self._links: dict[Host, SyncLink] = {}
        self._refused: Host | None = None

    def of(self, tag: str) -> "SyncSlotLink":
        """Return the link for keys with this hash tag, braces included."""
        return SyncSlotLink(self, tag)

    def close(self) -> None:
        """Close the connections."""
        for link in list(self._links.values()):
            link.close()

    def at(self, host: Host) -> SyncLink:
        """Return the link to one server; if two threads create one at once, the first one's is kept."""
        if host not in self._links:
            self._links.setdefault(host, SyncLink(self._address.at(host)))
        return self._links[host]

    def find_primary(self, tag: str) -> Host:
        """Return the primary for this tag. Raises RedisError, OSError if it is not found."""
        host = slot_owner(self._slots, tag)
        if host is not None:
            return host
        race = Race(
            self._address,
            lambda one: query_primary(one, self._address, tag),
            self._reach,
            lambda _: None,
            tag=tag,
            refused=self._refused,
        )
        host, self._slots = race.run_race()
        self._refused = None
        named = {one for _, _, one in self._slots}
        for one in set(self._links) - named:
            self._links.pop(one).close()
        return host

    def note_move(self, tag: str, host: Host) -> None:
        """Record a server's reply about the location of this tag's slot."""
        self._slots = with_moved(self._slots, tag, host)

    def forget_slots(self, *, refused: Host | None = None) -> None:
        """Query the map of slots at the next call, and prefer a server other than the refused one."""
        self._slots, self._refused = (), refused

    def _reach(self, host: Host) -> Host:
        self.at(host).call("PING")
        return host


class SyncSlotLink(Calls):
    """Link for the keys of one hash tag on a cluster, with the interface of :class:`.sync.SyncLink`."""

    def __init__(self, links: SyncSlotLinks, tag: str) -> None:
        self._links = links
        self._tag = tag

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values."""
        try:
            return self._sent([with_guard_key(command, self._tag) for command in commands])
        except (RedisError, OSError):
            self._links.forget_slots()
            raise

    def close(self) -> None:
        """Close the connections to all primaries."""
        self._links.close()

    def _sent(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        host = self._links.find_primary(self._tag)
        replies = self._links.at(host).call_many(commands)
        if there := redirect_target(replies[0], "MOVED", asked=host):
            self._links.note_move(self._tag, there)
            host, replies = there, self._links.at(there).call_many(commands)
        if there := redirect_target(replies[0], "ASK", asked=host):
            replies = self._links.at(there).call_many(with_asking(commands))[1::2]
        if is_error(replies[0], "CLUSTERDOWN"):
            self._links.forget_slots(refused=host)
        return replies
