"""The links of one process: one to a server, whoever it is; on a cluster one for each lane group.

Connections belong to an event loop, so every loop has links of its own: an application that calls
``asyncio.run`` again and again, or serves each request in a loop of its own (Flask's async views,
``async_to_sync``), may keep one producer. A loop that has been closed leaves its sockets to the garbage collector,
because nothing can be awaited in it any more; close the producer before the loop to avoid that.
"""

import asyncio
import threading
from asyncio import AbstractEventLoop

from .address import read_address
from .link import Link


class Links:
    """Made when they are first asked for. May be shared by event loops and threads.

    Args:
        url: see :mod:`.address` for its forms.

    Raises:
        ValueError: an address of another form.

    Example:
        links = Links("cluster://127.0.0.1:7000,127.0.0.1:7001")
        await links.of("{mail}").call("HGET", "momentus:{mail}:counters", "done:mail.normal")
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._parted = bool(read_address(url).cluster)
        self._by_loop: dict[AbstractEventLoop, dict[str, Link]] = {}
        self._lock = threading.Lock()

    def of(self, tag: str) -> Link:
        """The running loop's link for keys with this hash tag, braces included."""
        loop = asyncio.get_running_loop()
        links = self._by_loop.get(loop)
        if links is None:
            links = self._begin(loop)
        known = tag if self._parted else ""
        if known not in links:
            links[known] = Link(self._url, known)
        return links[known]

    async def close(self) -> None:
        """Close the connections of the running loop; those of other loops that still run are theirs to close."""
        with self._lock:
            links = self._by_loop.pop(asyncio.get_running_loop(), {})
        for link in links.values():
            await link.close()

    def _begin(self, loop: AbstractEventLoop) -> dict[str, Link]:
        """Begin with a new loop, and forget those that were closed."""
        with self._lock:
            self._by_loop = {one: links for one, links in self._by_loop.items() if not one.is_closed()}
            return self._by_loop.setdefault(loop, {})
