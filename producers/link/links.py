"""Links of one process, and scripts run on them in bounded time.

Connections belong to an event loop, so every loop has its own links: an application that calls
``asyncio.run`` repeatedly, or serves each request in its own loop (Flask's async views,
``async_to_sync``), may keep one producer. The sockets of a closed loop are left to the garbage collector,
because a closed loop cannot run anything; close the producer before the loop to avoid that.

So a process may fork while its links are in use (:mod:`.unusable`).
"""

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

from redis.asyncio import Redis, RedisCluster

from .address import read_address
from .budget import TimeBudget, Words
from .command import Argument, tag_of
from .link import Link
from .script import Script
from .slots import SlotLink, SlotLinks
from .unusable import FORKED, UnusableLink

script_of = cache(Script)
"""Return the script with this text, cached."""


class Caller(ABC):
    """Base class of what runs scripts: this module's links, or an application's client."""

    @abstractmethod
    def of(self, tag: str) -> Any:  # noqa: ANN401  what has `call`; a link has more
        """Return the link for keys with this hash tag, braces included."""

    @abstractmethod
    def within(self, seconds: float, tag: str, words: Words | None = None) -> TimeBudget:
        """Limit the time of calls for keys with this hash tag; raises DeadlineMissed, or the error of `words`."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections of the running loop."""

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument], *, seconds: float) -> Any:  # noqa: ANN401  a reply is what the script returns
        """Run a script and return its reply.

        Raises:
            RedisError, OSError: it was rejected, or may or may not have been run; DeadlineMissed is an OSError.
        """
        tag = tag_of(keys[0])
        async with self.within(seconds, tag):
            return await script_of(script).run(self.of(tag).call, keys, arguments)


class Links(Caller):
    """Links of one address, opened when they are first used. May be shared by event loops and threads.

    Args:
        url: see :mod:`.address` for its forms.

    Raises:
        ValueError: the address is malformed.

    Example:
        links = Links("cluster://127.0.0.1:7000,127.0.0.1:7001")
        await links.of("{mail}").call("HGET", "momentus:{mail}:counters", "done:mail.normal")
    """

    def __init__(self, url: str) -> None:
        self._address = read_address(url)
        self._by_loop: dict[AbstractEventLoop, Link | SlotLinks | UnusableLink] = {}
        self._lock = threading.Lock()
        _OF_THIS_PROCESS.add(self)

    def of(self, tag: str) -> Link | SlotLink | UnusableLink:
        """Return the running loop's link for keys with this hash tag, braces included."""
        loop = asyncio.get_running_loop()
        known = self._by_loop.get(loop) or self._begin(loop)
        return known if isinstance(known, Link) else known.of(tag)

    def within(self, seconds: float, tag: str, words: Words | None = None) -> TimeBudget:
        """Limit the time of calls for keys with this hash tag; a connection with an overdue reply is closed."""
        return TimeBudget(seconds, self.of(tag), words)

    async def close(self) -> None:
        """Close the connections of the running loop; other running loops close their own."""
        with self._lock:
            known = self._by_loop.pop(asyncio.get_running_loop(), None)
        if known is not None:
            await known.close()

    def leave_to_parent(self) -> None:
        """Refuse the event loops of the parent process; called in the child of a fork."""
        self._lock = threading.Lock()  # another thread of the parent may hold the old one
        self._by_loop = {loop: UnusableLink(FORKED, kept=known) for loop, known in self._by_loop.items()}

    def _begin(self, loop: AbstractEventLoop) -> Link | SlotLinks | UnusableLink:
        """Add the links of a new loop, and forget those of closed loops."""
        made = SlotLinks(self._address) if self._address.cluster else Link(self._address)
        with self._lock:
            self._by_loop = {one: known for one, known in self._by_loop.items() if not one.is_closed()}
            return self._by_loop.setdefault(loop, made)


_OF_THIS_PROCESS = WeakSet[Links]()


def _leave_to_parent() -> None:
    for links in list(_OF_THIS_PROCESS):
        links.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_leave_to_parent)


def open_links(server: str | Redis | Caller) -> Caller:
    """Return links for an address, or the adapter of a given client.

    Raises:
        ValueError: the address is malformed, or asyncio cannot use the client.
    """
    from .application_client import ApplicationClient  # noqa: PLC0415  it is a Caller of this file

    if isinstance(server, Caller):
        return server
    if isinstance(server, Redis | RedisCluster):
        return ApplicationClient(server)
    if type(server).__module__.startswith("redis."):
        raise ValueError("is a redis-py client for threads; give one of redis.asyncio, or use `connect`")
    return Links(server)
