"""Background tasks: what a process does beside its work, kept running for as long as the process lives.

Such a loop waits out the faults that it knows. One that nobody foresaw used to end it in silence, and with it a
clock, a permit or a wake-up until the next restart. Here it starts again after a pause, which grows while it keeps
failing; each fault is counted under the task's name (heartbeats and metrics tell the counts) and logged with its
type and place. Its words are not logged: they may hold somebody's address.

What it refuses to do: keep going what was cancelled, or hide a fault of work that somebody waits for.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import PurePath
from traceback import extract_tb
from typing import Final

import structlog

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds before a task that failed starts again; each is twice the one before."""
_HERE: Final = PurePath(__file__).parent

FAULTS: Final = Counter[str]()
"""How often each background task of this process ended by a fault, by its name."""


def start(name: str, run: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
    """Begin a task that is to run until it is cancelled, or until it returns.

    Args:
        name: counts and logs name it so; no private data.
        run: begins it, and begins it again after a fault.
    """
    return asyncio.create_task(keep(name, run), name=name)


async def keep(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run it, and again after each fault, until it returns or this task is cancelled."""
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            return await run()
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            note(name, error)  # somebody else's cancellation, which a library let escape
        except Exception as error:  # noqa: BLE001  whatever it is must not end the task for good
            note(name, error)
        if time.monotonic() - began > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def once(name: str, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
    """Begin a task that ends by itself and that nobody waits for; a fault is counted and logged."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_note_fault)
    return task


def note(name: str, error: BaseException) -> None:
    """Count and log a fault of a background task."""
    FAULTS[name] += 1
    with suppress(Exception):  # a log that cannot be written must not end the task; the count stays
        structlog.get_logger("background").error(
            "a background task failed by a fault of ours; it is begun again",
            event_name="task.failed",
            task=name,
            error=type(error).__name__,
            where=place_of(error),
            times=FAULTS[name],
        )


def place_of(error: BaseException) -> str:
    """File and line of our code nearest to where it was raised, or ``?``."""
    frames = [frame for frame in extract_tb(error.__traceback__) if PurePath(frame.filename).is_relative_to(_HERE)]
    ours = [frame for frame in frames if ".venv" not in frame.filename and frame.filename != __file__]
    if not ours:
        return "?"
    return f"{PurePath(ours[-1].filename).relative_to(_HERE)}:{ours[-1].lineno}"


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _note_fault(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (fault := task.exception()):
        note(task.get_name(), fault)
