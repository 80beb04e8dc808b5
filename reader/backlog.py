"""Limit of the bytes that all connections hold together: unread responses, waiting and incomplete requests.

Each connection also has separate limits. When all together pass this one, the connections that have held bytes for
longest are aborted until the rest fits.
"""

from __future__ import annotations

from typing import Final, Protocol

BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""Limit of the bytes that all connections of one reader hold."""


class HeldConnection(Protocol):
    """A connection that holds bytes."""

    def abort(self) -> None:
        """End the connection now."""


class Backlog:
    """Bytes held by each connection, the one that has held any for longest first.

    Args:
        limit: bytes of all connections together.
    """

    def __init__(self, limit: int = BACKLOG_BYTES) -> None:
        self._limit = limit
        self._held: dict[HeldConnection, int] = {}
        self.size = 0

    def note_held(self, client: HeldConnection, size: int) -> None:
        """Note the bytes that a connection holds now, or 0; abort other connections if the limit is passed."""
        self.size += size - self._held.get(client, 0)
        if size:
            self._held[client] = size
        else:
            self._held.pop(client, None)
        while self.size > self._limit:
            longest = next(iter(self._held))
            self.size -= self._held.pop(longest)
            longest.abort()
