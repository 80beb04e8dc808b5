"""Additions to redis-py's asyncio connections: search for the primary, a check of idle ones, safe cancellation."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost, ReadOnlyError, RedisError, TimeoutError as TooSlow

from .address import Address
from .link import IDLE_SECONDS, find_primary

_TRY_SECONDS = 0.1
"""Timeout for the reply of an idle connection."""


class PrimaryConnection:
    """Connection to the current primary. Mixin for one of redis-py's classes."""

    is_connected: bool

    def __init__(self, *, address: Address, tag: str, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._address = address
        self._tag = tag
        super().__init__(**options)

    async def connect(self) -> None:
        """Find the primary and connect to it."""
        if not self.is_connected:
            self.host, self.port = await find_primary(self._address, self._tag)
        await super().connect()  # type: ignore[misc]  # the connection behind this

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """Read a reply; if the server is no longer the primary, close the connection."""
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        except ReadOnlyError as error:
            await self.disconnect()  # type: ignore[attr-defined]  # as above
            raise ConnectionLost("the server is no longer the primary") from error


class CancellableConnection:
    """Connection on which a cancellation takes effect at any moment. Mixin for one of redis-py's classes.

    redis-py writes under ``asyncio.wait_for`` if there is a ``socket_timeout``. In Python 3.11 that returns the
    result if the write ends in the loop iteration in which it is cancelled, and the task continues (CPython issue
    86296).
    """

    socket_timeout: float | None

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        """Write a command within the connection's ``socket_timeout``. Raises redis-py's errors."""
        seconds, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(*arguments, **options)  # type: ignore[misc]  # the connection behind this
        except TimeoutError:
            raise TooSlow("Timeout writing to socket") from None
        finally:
            self.socket_timeout = seconds


class CheckedConnection:
    """Connection that is checked before its use if it was idle for a while. Mixin for one of redis-py's classes.

    A firewall drops an idle flow without notice, and then no reply to anything sent on it arrives. The check takes
    part of the call's time and leaves the rest for another connection.
    """

    _heard_at = 0.0

    async def on_connect(self) -> None:
        """Run the connection's handshake."""
        self._heard_at = math.inf  # its own commands must not trigger the check
        await super().on_connect()  # type: ignore[misc]  # the connection behind this
        self._heard_at = time.monotonic()

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """Read a reply."""
        reply = await super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        if self._heard_at != math.inf:
            self._heard_at = time.monotonic()
        return reply

    async def check_health(self) -> None:
        """Check the connection if it was idle for a while, and open another one if it does not reply."""
        if time.monotonic() - self._heard_at < IDLE_SECONDS:
            return
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                await self._send_ping()  # type: ignore[attr-defined]  # as above
        except (RedisError, OSError):
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]  # as above
            await self.connect()  # type: ignore[attr-defined]  # as above
