"""What connections hold of their clients' making: answers not taken, requests not answered or not whole.

One connection's share is bounded by its own limits; here is the bound of all together. When it is passed, those
that have been held up for longest are ended, until the rest fits.
"""

from __future__ import annotations

from typing import Final, Protocol

BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""Of all connections of one reader."""


class HeldConnection(Protocol):
    """A connection."""

    def abort(self) -> None:
        """End it now."""


class Backlog:
    """Who holds how much, the one that has been held up for longest first.

    Args:
        limit: bytes of all together.
    """

    def __init__(self, limit: int = BACKLOG_BYTES) -> None:
        self._limit = limit
        self._held: dict[HeldConnection, int] = {}
        self.size = 0

    def hold(self, client: HeldConnection, size: int) -> None:
        """Note what a connection holds now; none when it is 0."""
        self.size += size - self._held.get(client, 0)
        if size:
            self._held[client] = size
        else:
            self._held.pop(client, None)
        while self.size > self._limit:
            longest = next(iter(self._held))
            self.size -= self._held.pop(longest)
            longest.abort()
