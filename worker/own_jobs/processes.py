"""Child processes for functions that compute: each runs one job at a time, and can be killed.

What goes to a child is the job's kind and payload as JSON, and its answer is JSON: nothing is pickled. The child
has imported the job modules by their names. A child that is killed, or dies, takes its own job with it and no
other; the next job gets a new child. A child ends when the worker does, however that ends.

Over a socket, an object a line:

    to the child     {"kind", "payload", "run"}, {"began"}
    from the child   {"progress"}, {"effect"}, then {"result"} or {"raised", "text", "arguments"}
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from jobs.decisions import GiveUp, Park, TryLater
from jobs.handles import JobHandler
from jobs.run import Run
from worker.own_jobs.attempt import Call, read_job, run_of
from worker.own_jobs.decision_json import decision_of

ROOT = Path(__file__).resolve().parents[2]
_LINE_LIMIT = 16 << 20
"""Largest answer of a child in bytes."""


class ChildDied(Exception):
    """The process that ran a job ended before the job did."""


class FailedInChild(Exception):
    """An error of a function in a child process, by its type and message."""


@dataclass(slots=True, eq=False)
class _Child:
    """A child process and the socket to it."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    async def send(self, message: Mapping[str, object]) -> None:
        self.writer.write(orjson.dumps(message) + b"\n")
        await self.writer.drain()

    async def receive(self) -> dict[str, Any]:
        """Return the next message. Raises ChildDied."""
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            code = await self.process.wait()
            how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
            raise ChildDied(f"the process that ran the job ended {how}")
        found: dict[str, Any] = orjson.loads(line)
        return found

    def kill(self) -> None:
        self.writer.close()
        with suppress(ProcessLookupError):
            self.process.kill()


class Processes:
    """A pool of child processes; each starts with the first job that finds none idle.

    Args:
        size: the largest number of children; further jobs wait for an idle one.
        modules: the job modules that a child imports.
        folder: put first on the child's module path.
    """

    def __init__(self, size: int, modules: Sequence[str], folder: Path | None = None) -> None:
        self._places = asyncio.Semaphore(size)
        self._command = [sys.executable, "-m", "worker.own_jobs.child", ",".join(modules)]
        path = os.environ.get("PYTHONPATH", "")
        folders = [str(folder)] if folder else []
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *folders, path]).rstrip(":")}
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()

    def function(self, handler: JobHandler) -> Call:
        """Return the engine's function for a function that runs in a child."""

        async def call(context: dict[Any, Any], /, **payload: Any) -> object:  # noqa: ANN401  JSON of any type
            read_job(handler, payload)  # a payload that cannot be read costs no child
            return await self._run(handler.job.kind, payload, run_of(context))

        return call

    async def close(self) -> None:
        """Kill all children."""
        for child in self._all:
            child.kill()
        await asyncio.gather(*(child.process.wait() for child in self._all))
        self._all.clear()

    async def _run(self, kind: str, payload: Mapping[str, object], run: Run) -> object:
        async with self._places:
            child = self._idle.pop() if self._idle else await self._start()
            try:
                result = await _converse(child, kind, payload, run)
            except (FailedInChild, GiveUp, TryLater, Park):
                self._idle.append(child)
                raise
            except BaseException:  # its death, or the stop of this attempt
                child.kill()
                self._all.discard(child)
                await asyncio.shield(child.process.wait())
                raise
            self._idle.append(child)
            return result

    async def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the worker, which lets jobs finish
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_LIMIT)
        child = _Child(process, reader, writer)
        self._all.add(child)
        return child


async def _converse(child: _Child, kind: str, payload: Mapping[str, object], run: Run) -> object:
    """Run one job in a child and return its result."""
    facts = {
        "id": run.id,
        "attempt": run.attempt,
        "lane": run.lane,
        "queued_at": run.queued_at,
        "uncertain": run.uncertain,
    }
    await child.send({"kind": kind, "payload": payload, "run": facts})
    while True:
        message = await child.receive()
        if "progress" in message:
            run.progress(*message["progress"])
        elif "effect" in message:
            marking: Any = run.begin_effect(message["effect"])
            await child.send({"began": await marking})
        elif "raised" in message:
            raise decision_of(message) or FailedInChild(message["text"])
        else:
            return message["result"]
