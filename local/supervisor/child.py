"""One supervised process through its runs: start, watch, restart, stop.

`local.supervisor.process` draws the states and their transitions. A child is its own process group, so that Ctrl-C
at a terminal reaches the supervisor alone, and so that the remains of a run (grandchildren of a
killed leader) are killed before the next run. Its output is read through a separate pipe rather than
asyncio's, because waiting for a process must not depend on a grandchild closing its standard output.

The task `_keep` is the only one that starts runs. Other tasks change a field and call `_changed`; a task that
needs a state waits in `wait_until`.
"""

import asyncio
import os
import pwd
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from secrets import SystemRandom
from typing import Any, Protocol

import background
from local.supervisor.output import Log, Output
from local.supervisor.process import (
    AbandonDecision,
    FinishDecision,
    Process,
    ProcessEnd,
    ProcessFailed,
    RestartDecision,
    after_exit,
    describe_exit,
)

_POLL = 0.02
_PIPE_PATIENCE = 1.0  # for the rest of the output once the group is gone


class GroupRegister(Protocol):
    """Register of the process groups that run."""

    def hold(self, pid: int, stop_signal: int) -> None:
        """Add a running group."""

    def release(self, pid: int) -> None:
        """Remove a group that has ended."""


class ChildState(Enum):
    """State of a child; drawn in `local.supervisor.process`."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    FINISHED = "finished"
    GIVEN_UP = "given up"


class Child:
    """A process that is kept running. Public fields are for reading only."""

    def __init__(self, process: Process, *, log: Log, register: GroupRegister) -> None:
        self.process = process
        self.state = ChildState.STOPPED
        self.pid: int | None = None
        self.exit_codes: list[int] = []
        self.failure: ProcessFailed | None = None
        self._log = log
        self._register = register
        self._output = Output(process.name, log)
        self._prepared = False
        self._hindrance = ""
        self._stop_asked = asyncio.Event()
        self._change = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and return once it is ready (or has finished, if it is never restarted).

        Raises:
            ProcessFailed: it is given up, or was not ready within `ready_within`.
        """
        if not self._prepared:
            await self.process.prepare()
            self._prepared = True
        self._stop_asked.clear()
        self.state, self.failure = ChildState.STARTING, None
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.process.name}")
        try:
            async with asyncio.timeout(self.process.ready_within.total_seconds()):
                await self.wait_until(
                    lambda: self.state in {ChildState.READY, ChildState.FINISHED, ChildState.GIVEN_UP}
                )
        except TimeoutError:
            raise self._failed(self._not_ready()) from None
        if self.failure:
            raise self.failure

    async def stop(self) -> None:
        """Ask the process to end, wait for its drain time, then kill it. Does nothing if it does not run."""
        self._stop_asked.set()
        if self._task is None:
            return
        task = self._task
        await self.wait_until(lambda: self.pid is not None or task.done())
        await self._ask_to_end()
        if self.pid is not None:
            seconds = self.process.drain.total_seconds()
            self._log(self.process.name, f"still running {seconds:g} s after it was asked to end: killed")
            self._kill_group(self.pid)
        await task
        self._task = None

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition on this child's fields holds."""
        while not condition():
            await self._change.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _keep(self) -> None:
        failures = 0
        try:
            while not self._stop_asked.is_set():
                ended = await self._run_once()
                if self._stop_asked.is_set():
                    break
                verdict = after_exit(self.process, ended, failures=failures, chance=SystemRandom().random())
                match verdict:
                    case RestartDecision(wait, failures):
                        await self._wait(ended, wait)
                    case AbandonDecision(reason):
                        return self._give_up(reason)
                    case FinishDecision():
                        return self._enter(ChildState.FINISHED)
            self._enter(ChildState.STOPPED)
        except OSError as error:
            self._give_up(f"it could not be started: {error}")
        except Exception as error:  # noqa: BLE001  a fault here, or of the caller's log, must not hang all
            self._give_up(f"watching it failed: {type(error).__name__}: {error}")
        finally:
            # The task is done only after this step; a task that waits for it checks again then.
            asyncio.get_running_loop().call_soon(self._changed)

    async def _run_once(self) -> ProcessEnd:
        """Run the process once, from its start until nothing of its group is left."""
        running, output = await self._spawn()
        self._enter(ChildState.STARTING)
        becoming = asyncio.create_task(self._become_ready(running.pid))
        exit_code = await running.wait()
        became = await _result_or_cancel(becoming)
        self._kill_group(running.pid)
        self._register.release(running.pid)
        self.pid = None
        await _finish_reading(output)
        self.exit_codes.append(exit_code)
        self._enter(ChildState.WAITING)
        return ProcessEnd(exit_code=exit_code, ready_for=_since(became))

    async def _spawn(self) -> "tuple[asyncio.subprocess.Process, asyncio.Task[None]]":
        reading, writing = os.pipe()
        try:
            running = await asyncio.create_subprocess_exec(
                *self.process.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=self.process.cwd,
                env={**os.environ, **self.process.environment},
                start_new_session=True,
                **_as_user(self.process.user),
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._register.hold(running.pid, self.process.stop_signal)
        self.pid = running.pid
        return running, asyncio.create_task(self._output.read_pipe(reading))

    async def _become_ready(self, pid: int) -> float:
        """Return the monotonic time at which it was ready. A run that takes too long is killed."""
        try:
            async with asyncio.timeout(self.process.ready_within.total_seconds()):
                while not await self._is_ready(pid):  # noqa: ASYNC110  readiness sends no event; it must be polled
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            self._log(self.process.name, f"{self._not_ready()}: killed")
            self._kill_group(pid)
            await asyncio.Event().wait()  # the end of the process cancels this task
        self._enter(ChildState.READY)
        return time.monotonic()

    async def _is_ready(self, pid: int) -> bool:
        try:
            return self.process.ready is None or await self.process.ready(pid)
        except Exception as error:  # noqa: BLE001  any error of a check means "not yet", and is reported at the end
            self._hindrance = f" ({type(error).__name__}: {error})"
            return False

    async def _wait(self, ended: ProcessEnd, wait: timedelta) -> None:
        seconds = wait.total_seconds()
        self._log(self.process.name, f"ended with {describe_exit(ended.exit_code)}; restarts in {seconds:.1f} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop_asked.wait()

    async def _ask_to_end(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.process.drain.total_seconds()
        again = (self.process.stop_again or self.process.drain).total_seconds()
        while self.pid is not None and loop.time() < deadline:
            self.signal(self.process.stop_signal)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(loop.time() + again, deadline)):
                    await self.wait_until(lambda: self.pid is None)

    def _give_up(self, reason: str) -> None:
        self.failure = self._failed(reason)
        self._enter(ChildState.GIVEN_UP)

    def _failed(self, reason: str) -> ProcessFailed:
        return ProcessFailed(self.process.name, reason, self._output.last_lines)

    def _not_ready(self) -> str:
        return f"it was not ready within {self.process.ready_within.total_seconds():g} s{self._hindrance}"

    def _enter(self, state: ChildState) -> None:
        self.state = state
        self._changed()

    def _changed(self) -> None:
        """Wake all waiting tasks; they wait for the next change on a new event."""
        self._change.set()
        self._change = asyncio.Event()

    @staticmethod
    def _kill_group(pid: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _since(moment: float | None) -> timedelta | None:
    return None if moment is None else timedelta(seconds=time.monotonic() - moment)


async def _result_or_cancel(task: asyncio.Task[float]) -> float | None:
    await background.stop_tasks(task)
    return None if task.cancelled() else task.result()


async def _finish_reading(output: asyncio.Task[None]) -> None:
    """Read the rest of the output for at most a second; a descendant may hold the pipe open for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PIPE_PATIENCE):
            await output


def _as_user(user: str | None) -> dict[str, Any]:
    """Return the arguments that make a new process run as this user, with no group but the user's."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
