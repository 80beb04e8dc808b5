"""The deadline for the end of a worker's process, independent of its handlers.

A handler may swallow its cancellation, leave a thread behind for which Python waits at its exit, or block the
event loop, which then sees no signal at all. So a separate thread waits from the signal until the deadline, and
then terminates the process. The lease of an unrecorded job lapses.

asyncio lets a SystemExit of any task end the loop, even of a task that a handler started: :func:`run_to_its_end`
resumes the loop then.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

from worker.events import emit, event

_WORKER_CUT_OFF = event("worker.cut_off")
_JOB_EXIT_REFUSED = event("job.exit_refused")

_INCOMPLETE = 1

Result = TypeVar("Result")


class ExitDeadline:
    """The time limit of a shutdown, from the first signal to the termination of the process.

    Args:
        after: the time limit.

    Attributes:
        orderly: set once every outcome is recorded; then the exit code is 0.
    """

    def __init__(self, after: timedelta) -> None:
        self._after = after
        self._seen = False
        self.orderly = threading.Event()

    def watch_signal(self, signum: signal.Signals) -> None:
        """Start the time limit at this signal, ahead of the installed handler, which a blocked loop cannot run."""
        before = signal.getsignal(signum)

        def seen(number: int, frame: FrameType | None) -> None:
            if not self._seen:
                self._seen = True
                threading.Thread(target=self._run, name="exit-deadline", daemon=True).start()
            if callable(before):
                before(number, frame)

        signal.signal(signum, seen)
        signal.siginterrupt(signum, False)  # noqa: FBT003  its own signature; asyncio does the same

    def _run(self) -> None:
        threading.Event().wait(self._after.total_seconds())
        orderly = self.orderly.is_set()
        emit(_WORKER_CUT_OFF, orderly=orderly, seconds=self._after.total_seconds())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if orderly else _INCOMPLETE)


def run_to_its_end(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result]) -> Result:
    """Run a worker in a loop, even past a SystemExit or KeyboardInterrupt of a handler's task.

    Raises:
        KeyboardInterrupt: Ctrl-C, while no signal handler is installed.
    """
    task = loop.create_task(work)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            pressed = isinstance(error, KeyboardInterrupt)
            if task.done() or (pressed and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
                raise
            emit(_JOB_EXIT_REFUSED, error=type(error).__name__)
