"""One child process of a worker, which runs one job at a time, and the worker's end of the socket to it."""

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from jobs.run import Run
from producers.tracing import trace_fields
from worker.own_jobs.decision_json import decision_of
from worker.own_jobs.frames import Message, receive_frame, write_frame


class ChildDied(Exception):
    """The process that ran a job ended before the job did."""


class FailedInChild(Exception):
    """An error raised by a function in a child process; it has the original type's name and message."""


class ChildProcess:
    """A child process. It is killed, not told to stop: its function may be in the middle of a computation.

    Attributes:
        free: True while it waits for a job.
        jobs: number of jobs that it has run.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self.free = False
        self.jobs = 0

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> "ChildProcess":
        """Start a child and wait until it has imported its modules.

        Args:
            command: the number of the socket's descriptor is added.

        Raises:
            ChildDied: it ended instead; what it printed is in the worker's output.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the worker, which lets jobs finish
            )
        child = cls(process, *await asyncio.open_connection(sock=ours))
        try:
            await child._receive()
        except BaseException:
            await child.end()
            raise
        child.free = True
        return child

    @property
    def is_alive(self) -> bool:
        """True until the process is known to have ended."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def carry_out(self, kind: str, payload: Mapping[str, object], run: Run) -> object:
        """Run one job and return its result. After any exception other than these the child must be killed.

        Raises:
            HandlerDecision, FailedInChild: what the function raised.
            ChildDied: the child ended.
        """
        self.free = False
        message = {"kind": kind, "payload": payload, "run": _facts(run), "trace": trace_fields()}
        self._writer.write(write_frame(message))
        while True:
            message = await self._receive()
            if "progress" in message:
                run.progress(*message["progress"])
            elif "effect" in message:
                marking: Any = run.begin_effect(message["effect"])
                self._writer.write(write_frame({"began": await marking}))
            else:
                self.free = True
                self.jobs += 1
                return _result(message)

    async def end(self) -> None:
        """Kill the process and everything that it has started, and wait for its end."""
        self._writer.close()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _receive(self) -> Message:
        message = await receive_frame(self._reader)
        if message is None:
            code = await self._process.wait()
            how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
            raise ChildDied(f"the process that ran the job ended {how}")
        return message


def _facts(run: Run) -> dict[str, object]:
    return {
        "id": run.id,
        "attempt": run.attempt,
        "lane": run.lane,
        "worker": run.worker,
        "queued_at": run.queued_at,
        "uncertain": run.uncertain,
    }


def _result(message: Message) -> object:
    if "raised" in message:
        raise decision_of(message) or FailedInChild(message["text"])
    return message["result"]
