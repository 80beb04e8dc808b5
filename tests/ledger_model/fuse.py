"""The place at which a step stops: between two statements or round trips of the product's own code.

The stores that a step uses are wrapped, and each wrapper asks the step's fuse before it goes on. So a step can be
ended as by SIGKILL, meet a fault (with the work done or not), or rest while other steps are taken.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from redis.asyncio import Redis

from worker.ledger.links import GroupLinks
from worker.ledger.tables_postgres import LedgerTables

Way = Literal["crash", "fault", "pause"]
Store = Literal["postgres", "redis"]
_STATEMENTS = frozenset({"execute", "fetch", "fetchrow", "fetchval"})


class Crash(Exception):
    """The process ends here; what it had open is rolled back."""


class StoreFault(ConnectionError):
    """A store does not answer here; it may have done what it was asked for."""


@dataclass(slots=True)
class Fuse:
    """The place at which one step stops.

    Attributes:
        left: places to pass until then; 0: it does not stop.
        of: the store whose places are counted; "": those of both. A step that asks both at once passes them
            in any order.
        way: what happens there.
        is_dead: True once the process has ended, so that nothing passes any more.
        rests: set while a paused step waits for `gate`.
    """

    left: int = 0
    way: Way = "crash"
    of: Store | Literal[""] = ""
    is_dead: bool = False
    rests: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_resting(self) -> bool:
        return self.rests.is_set() and not self.gate.is_set()

    async def pass_place(self, store: Store | None) -> None:
        is_counted = store is not None and self.of in ("", store)
        self.left -= is_counted
        self.is_dead |= is_counted and self.left == 0 and self.way == "crash"
        if self.is_dead:
            raise Crash
        if not is_counted or self.left != 0:
            return
        if self.way == "fault":
            raise StoreFault
        self.rests.set()
        await self.gate.wait()
        self.rests.clear()


_FUSE: ContextVar[Fuse] = ContextVar("fuse")


async def with_fuse(fuse: Fuse, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do some work under a fuse; the tasks that it starts are under it as well."""
    _FUSE.set(fuse)
    return await work()


async def pass_place(store: Store | None = None) -> None:
    """Go on, unless the present step stops at this place of a store, or has ended before."""
    if fuse := _FUSE.get(None):
        await fuse.pass_place(store)


class WatchedConnection:
    """A connection to Postgres; a step may stop before each statement, and before and behind each commit."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        return _watched(found) if name in _STATEMENTS else found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield
            await pass_place("postgres")
        await pass_place("postgres")


def _watched(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def run(*arguments: Any) -> Any:
        await pass_place("postgres")
        return await call(*arguments)

    return run


class WatchedTables(LedgerTables):
    """The ledger's tables, with the same places."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WatchedConnection]:
        async with super().transaction() as connection:
            yield WatchedConnection(connection)
            await pass_place("postgres")
        await pass_place("postgres")


class WatchedLinks(GroupLinks):
    """The ledger's ways to Redis; a step may stop before each call and behind it."""

    async def call(self, lane: str, run: Callable[..., Awaitable[Any]]) -> Any:
        await pass_place("redis")
        reply = await super().call(lane, run)
        await pass_place("redis")
        return reply

    def lose(self) -> None:
        """Lose all connections, as when the server starts again."""
        for link in {*self._by_group.values(), self._listener}:
            link.drop()


class WatchedRedis(Redis):
    """A client of redis-py, as operators' commands have it, with the same places."""

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        await pass_place("redis")
        reply = await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]  # redis-py's
        await pass_place("redis")
        return reply
