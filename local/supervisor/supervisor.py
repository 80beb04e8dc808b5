"""Supervisor of a few processes on one machine, for the demo, `./run up` and the tests.

    async with Supervisor([valkey, postgres, worker], log=console(...)) as running:
        await running.wait()

It starts the processes in the order of the list, each once the one before is ready; restarts one that ends, with
growing waits; stops them in reverse order, each with its own drain time. A process that ends with code 2 at its
start is given up, and all others with it: an operator must fix a wrong setting, and retries cannot help.

Failures: a process that is never ready (`ProcessFailed` with its last lines, nothing left running);
a killed supervisor (the reaper ends its processes, see `local.supervisor.reaper`).

It is not a process manager for servers in production: it has no remote control, and it needs asyncio's own
event loop, as uvloop cannot start a process under another user.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from local.errors import EmbeddedError
from local.supervisor import reaper
from local.supervisor.child import Child, ChildState
from local.supervisor.output import Log
from local.supervisor.process import CONFIGURATION_FAULT, Process, SupervisorError
from ops.stop_signal import until_stopped


class Supervisor:
    """The supervised processes, running from `async with` to its end.

    Args:
        processes: in the order in which they start. Names are unique.
        log: takes each line of output with the name of its process; discarded by default.
        scratch: a directory removed once all have ended, even if the supervisor is killed. For throw-away data.

    Raises (on entering):
        ProcessFailed: a process did not start; all are stopped again.
        SupervisorError: the reaper did not start; nothing was started.
        Exception: any error of a process's `prepare`; likewise.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        *,
        log: Log = lambda _name, _line: None,
        scratch: Path | None = None,
    ) -> None:
        names = [process.name for process in processes]
        if len(set(names)) != len(names):
            raise ValueError(f"processes: must have different names ({names})")
        self._processes = processes
        self._log = log
        self._scratch = scratch and scratch.absolute()
        self._children: dict[str, Child] = {}
        self._reaper: _Reaper | None = None

    async def __aenter__(self) -> Self:
        self._reaper = await _Reaper.start(self._scratch)
        try:
            for process in self._processes:
                self._children[process.name] = Child(process, log=self._log, register=self._reaper)
                await self._children[process.name].start()
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    async def wait_for_failure(self) -> None:
        """Wait until the supervisor gives a process up; without a failure, forever.

        Raises:
            ProcessFailed: the process that was given up.
        """
        waits = [
            asyncio.create_task(child.wait_until(partial(_has_failed, child))) for child in self._children.values()
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        for child in self._children.values():
            if child.failure:
                raise child.failure

    def pid(self, name: str) -> int:
        """Return the pid of the process now running under this name.

        Raises:
            ProcessLookupError: it is not running.
        """
        pid = self._children[name].pid
        if pid is None:
            raise ProcessLookupError(f"{name}: is not running")
        return pid

    def runs_over(self, name: str) -> int:
        """Return the number of runs of this process that have ended."""
        return len(self._children[name].exit_codes)

    async def wait_exit(self, name: str) -> int:
        """Wait until the current run has ended; return its exit code, negative for a signal.

        Without a current run, the exit code is that of the last run.
        """
        child = self._children[name]
        seen = len(child.exit_codes) + (1 if child.pid is not None else 0)
        await child.wait_until(lambda: len(child.exit_codes) >= seen)
        return child.exit_codes[seen - 1]

    async def wait_ready(self, name: str) -> None:
        """Wait until the process is ready (again).

        Raises:
            ProcessFailed: it was given up instead.
        """
        child = self._children[name]
        await child.wait_until(lambda: child.state in {ChildState.READY, ChildState.GIVEN_UP})
        if child.failure:
            raise child.failure

    def send_signal(self, name: str, number: int) -> None:
        """Send a signal to a running process, to inject a fault for example."""
        self._children[name].signal(number)

    async def stop(self, name: str) -> None:
        """Stop one process and leave it stopped."""
        await self._children[name].stop()

    async def start(self, name: str) -> None:
        """Start a stopped process again and wait until it is ready."""
        await self._children[name].start()

    async def _stop_all(self) -> None:
        try:
            for child in reversed(self._children.values()):
                await child.stop()
        finally:
            if self._reaper:
                await self._reaper.end()


async def supervise(
    processes: Sequence[Process],
    *,
    log: Log,
    scratch: Path | None = None,
    meanwhile: AbstractAsyncContextManager[None] | None = None,
) -> int:
    """Run the processes until SIGTERM or SIGINT; return the exit code for this process.

    Args:
        meanwhile: entered once all processes are ready, and left before the first is stopped.

    Returns:
        0 after a normal stop; 2 if a process could not be started or kept running, with the reason on the log
        under `supervisor`.
    """
    try:
        await until_stopped(_until_given_up(processes, log, scratch, meanwhile or nullcontext()))
    except (SupervisorError, EmbeddedError) as failure:
        for line in str(failure).splitlines():
            log("supervisor", line)
        return CONFIGURATION_FAULT
    return 0


async def _until_given_up(
    processes: Sequence[Process], log: Log, scratch: Path | None, meanwhile: AbstractAsyncContextManager[None]
) -> None:
    async with Supervisor(processes, log=log, scratch=scratch) as running, meanwhile:
        await running.wait_for_failure()


def _has_failed(child: Child) -> bool:
    return child.failure is not None


class _Reaper:
    """The supervisor's end of the reaper process."""

    def __init__(self, process: asyncio.subprocess.Process, line: int) -> None:
        self._process = process
        self._line = line

    @classmethod
    async def start(cls, scratch: Path | None) -> Self:
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                reaper.__file__,
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(reading)
        started = cls(process, writing)
        if not (process.stdout and await process.stdout.readline()):
            await started.end()
            raise SupervisorError("reaper: did not start; nothing was started")
        if scratch is not None:
            started._tell(f"remove {scratch}")
        return started

    def hold(self, pid: int, stop_signal: int) -> None:
        self._tell(f"+ {pid} {int(stop_signal)}")

    def release(self, pid: int) -> None:
        self._tell(f"- {pid}")

    async def end(self) -> None:
        os.close(self._line)
        await self._process.wait()

    def _tell(self, words: str) -> None:
        # A killed reaper is not needed while the supervisor runs, so the work continues.
        with suppress(BrokenPipeError):
            os.write(self._line, f"{words}\n".encode())
