"""The process in which reports are computed beside mails and the backend's own jobs.

Threads are not enough: they share the interpreter, and each step of a mail waits for its turn. While 20,000 nodes
were computed, a mail of 16 ms took 300. So a worker that has anything else to do starts a second one for the
reports alone, with the same settings. It has its own leases and heartbeat and needs nothing from the first.

    starting -> running -> (it ends by itself) -> a pause -> starting
                   |
                   +-- the worker is told to stop, or dies -> it stops as any worker does

It is told to stop by SIGTERM, and learns of the worker's death by the end of its standard input.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import background
from worker.events import emit, event
from worker.troubles import end_trouble, note_trouble

_REPORTS_ENDED = event("reports.ended")
_TROUBLE = "reports process"
_ROOT = Path(__file__).resolve().parents[2]
_ONLY_REPORTS = "--only-reports"
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before it is started again; each pause is twice the previous one."""


class ReportsProcess:
    """A second worker for reports alone; use it as an async context, which ends when that worker has ended."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = background.start_task("reports", self._run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._process is None and self._task is not None:
            self._task.cancel()
        await asyncio.gather(*filter(None, [self._task]), return_exceptions=True)
        end_trouble(_TROUBLE)

    def stop(self) -> None:
        """Tell it to stop; it finishes running refreshes within its grace."""
        self._stopping.set()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def stop_at_signals(self) -> None:
        """Stop it at the signals that stop this process, so that both finish at the same time."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._stop_at(number)

    def _stop_at(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)

        def seen(received: int, frame: FrameType | None) -> None:
            self.stop()
            if callable(before):
                before(received, frame)

        signal.signal(number, seen)
        signal.siginterrupt(number, False)  # noqa: FBT003  its own signature; asyncio does the same

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            emit(_REPORTS_ENDED, code=code)
            note_trouble(_TROUBLE, f"it ended with exit code {code}")
            if asyncio.get_running_loop().time() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            self._process = None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _run_once(self) -> int:
        """Run it to its end and return its exit code."""
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", _ONLY_REPORTS),
            env={**os.environ, "PYTHONPATH": path},
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which passes it on once
        )
        if self._stopping.is_set():
            self.stop()
        lives = asyncio.get_running_loop().call_later(_LONGEST_PAUSE, end_trouble, _TROUBLE)
        try:
            return await self._process.wait()
        finally:
            lives.cancel()


def stop_with_input(loop: asyncio.AbstractEventLoop) -> None:
    """Let this process stop, as by SIGTERM, when its standard input ends: the worker that started it is gone."""
    source = sys.stdin.fileno()

    def ended() -> None:
        loop.remove_reader(source)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(source, ended)
