"""The end of a worker's process, whatever its handlers do.

A handler may swallow its cancellation, leave a thread behind for which Python waits at its exit, or block the
event loop, which then sees no signal at all. So the deadline runs in a thread of its own from the signal on, and
then ends the process. What could not be recorded until then lapses with its lease.

asyncio lets a SystemExit of any task end the loop, also of a task that a handler began: :func:`run_to_its_end`
goes on with the loop then.
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

Answer = TypeVar("Answer")


class ExitDeadline:
    """Ends the process a while after the first signal.

    Args:
        after: from the signal on.

    Attributes:
        orderly: set once everything that ended is recorded; the exit code says whether it was.
    """

    def __init__(self, after: timedelta) -> None:
        self._after = after
        self._seen = False
        self.orderly = threading.Event()

    def watch(self, signum: signal.Signals) -> None:
        """Begin with this signal, before the handler that is there: a blocked loop does not get that far."""
        before = signal.getsignal(signum)

        def seen(number: int, frame: FrameType | None) -> None:
            if not self._seen:
                self._seen = True
                threading.Thread(target=self._run, name="exit-deadline", daemon=True).start()
            if callable(before):
                before(number, frame)

        signal.signal(signum, seen)
        signal.siginterrupt(signum, False)  # noqa: FBT003  its own signature; as asyncio has it

    def _run(self) -> None:
        threading.Event().wait(self._after.total_seconds())
        orderly = self.orderly.is_set()
        emit(_WORKER_CUT_OFF, orderly=orderly, seconds=self._after.total_seconds())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if orderly else _INCOMPLETE)


def run_to_its_end(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a worker in a loop; tasks of handlers that raise SystemExit or KeyboardInterrupt do not end it.

    Raises:
        KeyboardInterrupt: Ctrl-C, while no handler of signals is installed.
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
