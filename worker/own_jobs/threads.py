"""Threads for plain functions, each with one job at a time.

A thread cannot be stopped from outside. An attempt that is stopped lets its function see ``run.is_stopped()``; if
the function does not return within the engine's three seconds, the attempt is over without it: the slot is free,
what the function still does is fenced, and its thread is left behind until the function returns. The next job gets
another thread, so a thread that is left behind starves no other job. The engine counts such attempts and operators
see them; with a hundred in one worker, jobs for threads return to the queue uncharged until the worker is
restarted.

The threads are daemons: a process ends without waiting for them.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, NoReturn

from jobs.decisions import TryLater
from jobs.handler import JobHandler
from jobs.run import Run
from worker.engine.attempt import Attempt
from worker.own_jobs.attempt import Call, read_job, run_of

_MOST_LEFT_BEHIND = 100
_MOST_IDLE = 32
"""Number of idle threads that are kept for the next jobs."""
_WAIT = timedelta(seconds=30)
_NAME = "job"


@dataclass(slots=True)
class _Ending:
    """Result of a function. Its exception is passed as a value, because futures refuse StopIteration."""

    value: object = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)

    def result(self) -> object:
        if self.error is not None:
            raise self.error
        return self.value


Work = Callable[[], object]
_Order = tuple[Work, "asyncio.Future[_Ending]"]


@dataclass(slots=True, eq=False)
class _JobThread:
    """A thread that runs one function after another."""

    orders: "SimpleQueue[_Order | None]" = field(default_factory=SimpleQueue)


class Threads:
    """The threads of one worker. Only the event loop calls it."""

    def __init__(self) -> None:
        self._idle: list[_JobThread] = []
        self._running: dict[_JobThread, tuple[Attempt, asyncio.Future[_Ending]]] = {}

    def function(self, handler: JobHandler) -> Call:
        """Return the engine's function for a plain function."""

        async def call(context: dict[Any, Any], /, **payload: Any) -> object:  # noqa: ANN401  JSON of any type
            job = read_job(handler, payload)
            arguments = (job, _blocking(run_of(context))) if handler.takes_run else (job,)
            work = partial(handler.function, *arguments)
            return handler.checked_result(await self._run(work, context["attempt"]))

        return call

    def close(self) -> None:
        """Stop the threads, busy ones after their job, and end the attempts whose functions still run."""
        for thread in (*self._idle, *self._running):
            thread.orders.put(None)
        self._idle.clear()
        for _, ending in self._running.values():
            if not ending.done():
                ending.set_result(_Ending(error=asyncio.CancelledError()))

    async def _run(self, work: Work, attempt: Attempt) -> object:
        """Run a function in a thread, wait for its end and return its result.

        What a function raises after its attempt was told to stop counts as the end by that stop.
        """
        self._refuse_when_full()
        ending = self._begin(partial(copy_context().run, work), attempt)
        while not ending.done():
            with suppress(asyncio.CancelledError):  # a cancellation only tells the function
                await asyncio.wait([ending])
        ended = ending.result()
        if ended.error is not None and attempt.stopped:
            raise asyncio.CancelledError
        return ended.result()

    def _refuse_when_full(self) -> None:
        left_behind = sum(attempt.left_behind for attempt, _ in self._running.values())
        if left_behind >= _MOST_LEFT_BEHIND:
            raise TryLater(
                f"{left_behind} functions in this worker have not returned; restart it, and give calls timeouts",
                after=_WAIT,
                charged=False,
                bounded=True,
            )

    def _begin(self, work: Work, attempt: Attempt) -> "asyncio.Future[_Ending]":
        loop = asyncio.get_running_loop()
        ending: asyncio.Future[_Ending] = loop.create_future()
        thread = self._idle.pop() if self._idle else self._start(loop)
        self._running[thread] = (attempt, ending)
        thread.orders.put((work, ending))
        return ending

    def _start(self, loop: asyncio.AbstractEventLoop) -> _JobThread:
        thread = _JobThread()
        try:
            threading.Thread(target=_serve, args=(thread, loop, self._ended), name=_NAME, daemon=True).start()
        except RuntimeError as error:
            raise TryLater(f"this worker cannot start a thread: {error}", charged=False, bounded=True) from None
        return thread

    def _ended(self, thread: _JobThread, ended: _Ending) -> None:
        _, ending = self._running.pop(thread)
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(thread)
        else:
            thread.orders.put(None)
        if not ending.done():
            ending.set_result(ended)


def _serve(
    thread: _JobThread, loop: asyncio.AbstractEventLoop, ended: Callable[[_JobThread, _Ending], None]
) -> None:
    """Run the functions in the queue until None arrives."""
    while (order := thread.orders.get()) is not None:
        work, _ = order
        try:
            ending = _Ending(work())
        except BaseException as error:  # noqa: BLE001  any, SystemExit too, is how the function ended
            ending = _Ending(error=error)
        del order, work  # an idle thread keeps no job alive
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(ended, thread, ending)
        del ending


def _blocking(run: Run) -> Run:
    """Return the `Run` for a thread; the mark of an effect is awaited in the event loop."""
    loop, begin = asyncio.get_running_loop(), run.begin_effect

    def begin_effect(note: str = "") -> bool:
        marking: Any = begin(note)
        return bool(asyncio.run_coroutine_threadsafe(marking, loop).result())

    run.begin_effect = begin_effect
    return run


def end_process(code: int) -> NoReturn:
    """End this process, at once if a thread still runs a function: Python's shutdown would disturb it."""
    if not any(thread.name == _NAME for thread in threading.enumerate()):
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
