"""What sessions need of a way to Redis: its shape, and who makes one for an address.

This room knows no connection. Whatever runs a script in bounded time can carry sessions; for an address or a
redis-py client it is made by the room `producers.link`, which is shipped beside this one and is found by its name
when it is first needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

from redis import Redis as BlockingRedis
from redis.asyncio import Redis


@runtime_checkable
class SessionLinks(Protocol):
    """For asyncio."""

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds: float
    ) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        """Run a script's text for keys of one hash tag. Raises RedisError, OSError, TimeoutError."""

    async def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class SyncSessionLinks(Protocol):
    """For threads."""

    def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds: float
    ) -> Any:  # noqa: ANN401  as above
        """Run a script's text for keys of one hash tag. Raises RedisError, OSError."""

    def close(self) -> None:
        """Close the connections."""


def open_links(server: str | Redis | SessionLinks) -> SessionLinks:
    """The way to a server. Raises ValueError for an address that is none."""
    return server if isinstance(server, SessionLinks) else cast("SessionLinks", _room("links").open_links(server))


def open_sync_links(server: str | BlockingRedis | SyncSessionLinks) -> SyncSessionLinks:
    """The same for threads."""
    return (
        server
        if isinstance(server, SyncSessionLinks)
        else cast("SyncSessionLinks", _room("sync").SyncLinks(server))
    )


def _room(part: str) -> Any:  # noqa: ANN401  a module
    return import_module(f"{(__package__ or '').removesuffix('sessions')}producers.link.{part}")
