"""A pool of child processes for functions that compute: each runs one job at a time, and can be killed.

What goes to a child is the job's kind and payload as JSON, and its answer is JSON: nothing is pickled. A child has
imported the job modules by their names. It starts with the first job that finds none free, so a worker without
such jobs has no children.

A child that is killed, or dies, takes its own job with it and no other; the next job gets a new one. A stopped
attempt kills its child. A job that waits for a free child is not under its time limit yet. No child outlives its
worker: the kernel ends it (Linux), or it ends when its socket closes, which it sees after its job.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.decisions import TryLater
from jobs.handler import JobHandler
from worker.engine.attempt import Attempt
from worker.own_jobs.attempt import Call, read_job, run_of
from worker.own_jobs.child_process import ChildDied, ChildProcess

ROOT = Path(__file__).resolve().parents[2]


class Processes:
    """The child processes of one worker.

    Args:
        size: the largest number of children; further jobs wait for a free one.
        arguments: of the child's command.
        folder: put first on the child's module path.
        jobs_each: number of jobs after which a child is replaced by a new one; 0 for never.
    """

    def __init__(
        self, size: int, arguments: Sequence[str], folder: Path | None = None, *, jobs_each: int = 0
    ) -> None:
        self._size, self._jobs_each = size, jobs_each
        self._places = asyncio.Semaphore(size)
        self._command = [sys.executable, "-m", "worker.own_jobs.child", *arguments]
        self._environment = {**os.environ, "PYTHONPATH": _module_path(folder)}
        self._free: list[ChildProcess] = []
        self._all: set[ChildProcess] = set()

    def function(self, handler: JobHandler) -> Call:
        """Return the engine's function for a function that runs in a child."""

        async def call(context: dict[Any, Any], /, **payload: Any) -> object:  # noqa: ANN401  JSON of any type
            read_job(handler, payload)  # a payload that cannot be read costs no child
            return await self._run(handler.job.kind, payload, context)

        return call

    async def close(self) -> None:
        """Kill all children."""
        await asyncio.gather(*(child.end() for child in self._all))
        self._all.clear()
        self._free.clear()

    async def _run(self, kind: str, payload: Mapping[str, object], context: dict[Any, Any]) -> object:
        attempt: Attempt = context["attempt"]
        attempt.hold_time()
        async with self._places:
            child = await self._take()
            attempt.begin_time()
            try:
                return await child.carry_out(kind, payload, run_of(context))
            finally:
                await self._put_back(child)

    async def _take(self) -> ChildProcess:
        """Return a free child, or start one; a new child is kept even if the attempt is stopped meanwhile."""
        while self._free:
            child = self._free.pop()
            if child.is_alive:
                return child
            await self._remove(child)
        starting = asyncio.ensure_future(self._start())
        try:
            return await asyncio.shield(starting)
        except ChildDied as error:
            reason = f"no child process can be started: {error}; its output is in the worker's log"
            raise TryLater(reason, charged=False, bounded=True) from None
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise

    async def _start(self) -> ChildProcess:
        child = await ChildProcess.start(self._command, self._environment)
        self._all.add(child)
        return child

    def _keep(self, started: "asyncio.Task[ChildProcess]") -> None:
        if not started.cancelled() and started.exception() is None:
            self._free.append(started.result())

    async def _put_back(self, child: ChildProcess) -> None:
        worn = bool(self._jobs_each) and child.jobs >= self._jobs_each
        if child.free and not worn and len(self._all) <= self._size:
            self._free.append(child)
        else:
            await asyncio.shield(self._remove(child))

    async def _remove(self, child: ChildProcess) -> None:
        self._all.discard(child)
        await child.end()


def _module_path(folder: Path | None) -> str:
    parts = [str(ROOT), str(folder or ""), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(part for part in parts if part)
