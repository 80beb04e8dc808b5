"""Connections of redis-py that were silent for long are tried before they are used.

A firewall forgets an idle flow without a word, and what is sent on it then is answered by nobody. A try takes a
part of the call's time and leaves the rest for another connection. Both classes stand before one of redis-py's.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from redis.exceptions import RedisError, TimeoutError as RedisTimeoutError

_IDLE_SECONDS = 10.0
"""No firewall forgets a flow sooner."""
_TRY_SECONDS = 0.1
"""For the answer: less than half of a call's usual deadline."""


class Tried:
    """For asyncio."""

    _heard_at = 0.0

    async def on_connect(self) -> None:
        """Greet the server."""
        self._heard_at = math.inf  # its own commands are not to try the connection
        await super().on_connect()  # type: ignore[misc]  # the connection behind this
        self._heard_at = time.monotonic()

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """A reply."""
        reply = await super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        if self._heard_at != math.inf:
            self._heard_at = time.monotonic()
        return reply

    async def check_health(self) -> None:
        """Try the connection if it was silent for long, and make another one if it does not answer."""
        if not _is_idle(self._heard_at):
            return
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                await self._send_ping()  # type: ignore[attr-defined]  # as above
        except (RedisError, OSError):
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]  # as above
            await self.connect()  # type: ignore[attr-defined]  # as above


class SyncTried:
    """For threads."""

    _heard_at = 0.0

    def on_connect(self) -> None:
        """Greet the server."""
        self._heard_at = math.inf  # its own commands are not to try the connection
        super().on_connect()  # type: ignore[misc]  # the connection behind this
        self._heard_at = time.monotonic()

    def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """A reply."""
        reply = super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        if self._heard_at != math.inf:
            self._heard_at = time.monotonic()
        return reply

    def check_health(self) -> None:
        """Try the connection if it was silent for long, and make another one if it does not answer."""
        if not _is_idle(self._heard_at):
            return
        try:
            self._try()
        except (RedisError, OSError):
            self.disconnect()  # type: ignore[attr-defined]  # as above
            self.connect()  # type: ignore[attr-defined]  # as above

    def _try(self) -> None:
        self.send_command("PING", check_health=False)  # type: ignore[attr-defined]  # as above
        if not self.can_read(timeout=_TRY_SECONDS):  # type: ignore[attr-defined]  # as above
            raise RedisTimeoutError("an idle connection did not answer")
        self.read_response()


def _is_idle(heard_at: float) -> bool:
    return time.monotonic() - heard_at > _IDLE_SECONDS
