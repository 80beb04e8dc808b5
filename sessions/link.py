"""Protocols of the Redis links that sessions use, and functions that open links.

Any object that runs a script in bounded time can serve as a link. For an address or a redis-py client the links
come from `producers.link`, a package shipped beside this one and imported by name at first use, so that sessions
alone import nothing else; redis-py is loaded with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from .errors import SessionRefused

if TYPE_CHECKING:
    from redis import Redis as BlockingRedis
    from redis.asyncio import Redis


@runtime_checkable
class SessionLinks(Protocol):
    """Links to Redis for asyncio."""

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds: float
    ) -> Any:  # noqa: ANN401  a reply is what the script returns
        """Run a script for keys of one hash tag and return its reply. Raises RedisError, OSError, TimeoutError."""

    async def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class SyncSessionLinks(Protocol):
    """Links to Redis for threads."""

    def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int], *, seconds: float
    ) -> Any:  # noqa: ANN401  as above
        """Run a script for keys of one hash tag and return its reply. Raises RedisError, OSError."""

    def close(self) -> None:
        """Close the connections."""


def open_links(server: str | Redis | SessionLinks) -> SessionLinks:
    """Return links to a server. Raises ValueError for an invalid address."""
    return server if isinstance(server, SessionLinks) else cast("SessionLinks", _room("links").open_links(server))


def open_sync_links(server: str | BlockingRedis | SyncSessionLinks) -> SyncSessionLinks:
    """Return links to a server for threads. Raises ValueError for an invalid address."""
    return (
        server
        if isinstance(server, SyncSessionLinks)
        else cast("SyncSessionLinks", _room("sync").SyncLinks(server))
    )


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Turn the error for an invalid address or client into a `SessionRefused` that names the argument."""
    try:
        yield
    except ValueError as error:
        raise SessionRefused(f"{argument}: {error}") from None


def checked_seconds(deadline: timedelta) -> float:
    """Return the time limit of a call in seconds. Raises SessionRefused."""
    if not isinstance(deadline, timedelta) or deadline <= timedelta(0):
        raise SessionRefused(
            f"deadline: must be a timedelta above 0, like timedelta(milliseconds=250), not {deadline!r}"
        )
    return deadline.total_seconds()


def redis_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions by which a link reports that Redis failed, for an ``except`` clause."""
    from redis.exceptions import RedisError  # noqa: PLC0415  redis-py is most of an import, and loaded by now

    return RedisError, OSError  # a timeout is an OSError


def _room(part: str) -> Any:  # noqa: ANN401  a module
    return import_module(f"{(__package__ or '').removesuffix('sessions')}producers.link.{part}")
