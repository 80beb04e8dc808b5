"""Pool of connections for threads: a call takes one for itself, and gives it back when all went well.

There are as many connections as threads have had calls at once. A forked process begins with none: it closes its
copies of the parent's sockets, which leaves the parent's connections open. Taking and giving back are single steps
of a deque, so that there is no lock that a fork could copy while another thread holds it.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .command import Argument
from .sync_wire import SyncWire


class SyncPool:
    """Idle connections to one server.

    Args:
        open_wire: returns a new connection after its handshake; raises RedisError, OSError.
    """

    def __init__(self, open_wire: Callable[[], SyncWire]) -> None:
        self._open_wire = open_wire
        self._idle: deque[SyncWire] = deque()
        self._process = os.getpid()

    def exchange(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands on one connection and return their replies in order; errors are returned as values.

        Raises:
            RedisError, OSError: they may or may not have been run.
        """
        wire = self._take()
        replies = wire.exchange(commands)
        self._idle.append(wire)
        return replies

    def clear(self) -> None:
        """Close the idle connections; those in use find out by themselves whether they are of use."""
        while (wire := self._pop()) is not None:
            wire.close()

    def _take(self) -> SyncWire:
        if self._process != os.getpid():
            self._process = os.getpid()
            self.clear()
        while (wire := self._pop()) is not None:
            if wire.is_usable():
                return wire
            wire.close()
        return self._open_wire()

    def _pop(self) -> SyncWire | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None
