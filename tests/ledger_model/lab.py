"""The servers, workers, applications and operators of one run of the machine, in one event loop of its own."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import asyncpg
import structlog
from redis.asyncio import Redis

from ledger.schema import install
from producers import Producer
from tests.ledger_model.applications import Application
from tests.ledger_model.fuse import Crash, Fuse, StoreFault, WatchedConnection, WatchedRedis, with_fuse
from tests.ledger_model.stores import LANES, SavedRedis, Stores, empty, read_stores
from tests.ledger_model.worker import ModelWorker
from worker import events

Told = Literal["done", "crash", "fault", "pause"]
After = Callable[[Any], Awaitable[None]]
_HANGS = 20.0
"""Seconds after which a step is given up: it waits for something that does not come."""
_ENDS = 5.0
"""Seconds for a step that hangs to end when it is cancelled."""
_LOOK_SECONDS = 0.02
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@dataclass(slots=True, eq=False)
class Resting:
    """A step that rests half done, and what is to be noted when it is over."""

    task: "asyncio.Task[Any]"
    fuse: Fuse
    after: After
    worker: ModelWorker | None


class Lab:
    """Use as a context; all in it happens when `do` is called. Nobody reads what the product logs."""

    def __init__(self, dsn: str, url: str) -> None:
        self.dsn, self.url = dsn, url
        self.steps = 0
        self.taken: Counter[str] = Counter()
        """How often each step was taken, and how those with a fuse ended."""
        self.failure = ""
        """The first one, with its steps: if they depend on time, no second run may show it."""
        self.resting: list[Resting] = []
        self.saved: SavedRedis | None = None
        self.passed_ms = 0
        self._runner = asyncio.Runner()
        self._logging: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        self._logging = structlog.get_config() if structlog.is_configured() else None
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._runner.__enter__()
        self.do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.do(self._close())
        finally:
            self._runner.__exit__(None, None, None)
            self._log_again()

    def _log_again(self) -> None:
        """Have later tests of this process log what they did before."""
        if self._logging is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**self._logging)
        events._cached_method.cache_clear()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(_with_limit(work))

    async def _open(self) -> None:
        self.connection = await asyncpg.connect(self.dsn)
        await install(self.connection)
        self.redis = Redis.from_url(self.url)
        self.operators_redis = WatchedRedis.from_url(self.url)
        self._desks = await asyncpg.create_pool(self.dsn, min_size=1, max_size=8)
        self.producer = Producer.connect(self.url, budget=5)
        self.applications = [Application(self.dsn, self.producer) for _ in range(2)]
        self.workers = [ModelWorker(self.dsn, self.url, name) for name in ("a", "b")]

    async def _close(self) -> None:
        await self.end_all()
        everything: list[Any] = [*self.workers, *self.applications, self.producer, self._desks, self.connection]
        for one in everything:
            await one.close()
        await self.redis.aclose()
        await self.operators_redis.aclose()

    async def clear(self) -> None:
        """Begin as two workers on empty stores do."""
        await self.end_all()
        self.saved, self.passed_ms = None, 0
        await empty(self.connection, self.redis)
        for one in self.workers:
            one.die()
            for lane in LANES:
                await one.claim(lane, 0)

    async def end_all(self) -> None:
        """End what is open or rests, without a look at what comes of it."""
        for one in self.resting:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in self.resting), return_exceptions=True)
        self.resting.clear()
        for application in self.applications:
            if application.is_open:
                await application.roll_back()

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[WatchedConnection]:
        """An operator's connection to Postgres."""
        async with self._desks.acquire() as connection:
            yield WatchedConnection(connection)

    async def read(self) -> Stores:
        return await read_stores(self.connection, self.redis)

    async def take(
        self, work: Callable[[], Awaitable[Any]], fuse: Fuse, after: After, worker: ModelWorker | None = None
    ) -> Told:
        """Take a step until it ends, or rests; if it waits for one that rests, that goes on."""
        task = asyncio.create_task(with_fuse(fuse, work))
        step = Resting(task, fuse, after, worker)
        try:
            while not (task.done() or fuse.is_resting):
                await self._wait_for(step)
                if self.resting and not task.done() and await self._has_waiting():
                    await self.resume_all(beside=fuse)
        except BaseException:
            self.resting.append(step)
            raise
        if not task.done():
            self.resting.append(step)
            return "pause"
        try:
            await after(task.result())
        except Crash:
            return "crash"
        except StoreFault:
            return "fault"
        return "done"

    async def _wait_for(self, step: Resting) -> None:
        """Wait a moment, and no longer than until the step ends or rests."""
        rests = asyncio.create_task(step.fuse.rests.wait())
        await asyncio.wait({step.task, rests}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        rests.cancel()

    async def _has_waiting(self) -> bool:
        return bool(await self.connection.fetchval(_WAITING))

    async def resume_all(self, beside: Fuse | None = None) -> None:
        """Let all steps that rest go on to their ends.

        Args:
            beside: of the step that waits for them; if one of them comes to wait for it in turn, it does not rest.
        """
        resting, self.resting = self.resting, []
        for one in resting:
            one.fuse.gate.set()
        while going := [one.task for one in resting if not one.task.done()]:
            await asyncio.wait(going, timeout=_LOOK_SECONDS)
            if beside and beside.is_resting and await self._has_waiting():
                beside.gate.set()
        for one in resting:
            await one.after(await one.task)


class Hung(Exception):
    """A step waits for something that does not come; the text says where each task of the loop waits."""


async def _with_limit(work: Coroutine[Any, Any, Any]) -> Any:
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=_HANGS)
    if done:
        return task.result()
    waiting = "\n".join(_where(one) for one in asyncio.all_tasks() - {asyncio.current_task()})
    task.cancel()
    await asyncio.wait({task}, timeout=_ENDS)
    raise Hung(f"nothing came for {_HANGS:g} s; the tasks wait at\n{waiting}")


def _where(task: "asyncio.Task[Any]") -> str:
    """A task's chain of awaits, outermost first."""
    lines = []
    waits: Any = task.get_coro()
    while frame := getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None):
        lines.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    return f"  {task.get_name()}: {' > '.join(lines)} > {waits!r}"
