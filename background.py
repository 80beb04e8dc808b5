"""Background tasks: loops that a process runs beside its main work, restarted after a fault.

A loop handles the faults that it expects. Without this module an unexpected fault would silently end the loop,
and with it a clock, a permit or a wake-up until the next restart of the process. Here the loop starts again after
a pause, which grows while it keeps failing. Each fault is counted under the task's name (heartbeats and metrics
show the counts) and logged with its type and place. Its message is not logged: it may contain a mail address.

A cancelled task is not restarted, and a fault of work that a caller awaits is not hidden.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import PurePath
from traceback import extract_tb
from typing import Any, Final

import structlog

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds before a failed task starts again; each pause is twice the previous one."""
CANCEL_AGAIN: Final = 1.0
"""Seconds after which a task that did not end is cancelled again."""
_HERE: Final = PurePath(__file__).parent

FAULTS: Final = Counter[str]()
"""Number of faults of each background task of this process, by task name."""


def start_task(name: str, run: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
    """Start a task that runs until it is cancelled or returns.

    Args:
        name: the task's name in counts and logs; no private data.
        run: called to start the work, and again after each fault.
    """
    return asyncio.create_task(keep_running(name, run), name=name)


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Call ``run``, again after each fault, until it returns or this task is cancelled."""
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            return await run()
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            note_fault(name, error)  # the cancellation of another task, which a library let escape
        except Exception as error:  # noqa: BLE001  no fault may end the task for good
            note_fault(name, error)
        if time.monotonic() - began > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def stop_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks until each has ended; a fault with which one ends is not raised.

    A cancellation may be lost: ``asyncio.wait_for`` of Python 3.11, by which redis-py writes its commands,
    returns the result of work that ends in the same round of the loop, and the task continues (CPython issue
    86296).
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN)
    for task in tasks:
        task.cancelled() or task.exception()


def start_once(name: str, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
    """Start a task that ends without cancellation and is not awaited; count and log its fault."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_note_fault)
    return task


def note_fault(name: str, error: BaseException) -> None:
    """Count and log a fault of a background task."""
    FAULTS[name] += 1
    with suppress(Exception):  # a log that cannot be written must not end the task; the count stays
        structlog.get_logger("background").error(
            "a background task failed because of a bug; it is restarted",
            event_name="task.failed",
            task=name,
            error=type(error).__name__,
            where=place_of(error),
            times=FAULTS[name],
        )


def place_of(error: BaseException) -> str:
    """Return the file and line of the project's own frame nearest to the raise, or ``?``."""
    frames = [frame for frame in extract_tb(error.__traceback__) if PurePath(frame.filename).is_relative_to(_HERE)]
    own = [frame for frame in frames if ".venv" not in frame.filename and frame.filename != __file__]
    if not own:
        return "?"
    return f"{PurePath(own[-1].filename).relative_to(_HERE)}:{own[-1].lineno}"


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _note_fault(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (fault := task.exception()):
        note_fault(task.get_name(), fault)
