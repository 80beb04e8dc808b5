"""Attempts of own jobs: from the engine's context and payload to the handler's job and run, in loop or thread."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from jobs.decisions import GiveUp
from jobs.fields import InvalidJob
from jobs.handles import JobHandler
from jobs.job import Job
from jobs.run import Run
from worker.engine.attempt import Attempt

Call = Callable[..., Coroutine[Any, Any, object]]
_THREADS = 5000
"""More threads than slots: one that does not end when it is told to is lost, and no job waits for it."""


def in_loop(handler: JobHandler) -> Call:
    """Return the engine's function for a coroutine."""

    async def call(context: dict[Any, Any], /, **payload: Any) -> object:  # noqa: ANN401  JSON of any type
        job = read_job(handler, payload)
        if not handler.takes_run:
            return await handler.function(job)
        return await handler.function(job, run_of(context))

    return call


class Threads:
    """Threads for plain functions, each with one job at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="job")

    def function(self, handler: JobHandler) -> Call:
        """Return the engine's function for a plain function.

        A thread cannot be stopped. When its attempt is stopped, it sees `is_stopped` and may return or raise; the
        engine gives it three seconds, then its slot is free without it and it can begin no effect.
        """

        async def call(context: dict[Any, Any], /, **payload: Any) -> object:  # noqa: ANN401  JSON of any type
            job = read_job(handler, payload)
            arguments = (job, _blocking(run_of(context))) if handler.takes_run else (job,)
            running = asyncio.get_running_loop().run_in_executor(self._pool, partial(handler.function, *arguments))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait({running})
                if running.exception() is not None:
                    raise
                return running.result()

        return call

    def close(self) -> None:
        """Let idle threads end; those that run a job end with it, or with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def read_job(handler: JobHandler, payload: dict[str, Any]) -> Job:
    """Return the job of a payload. Raises GiveUp: no later attempt could read it."""
    try:
        return handler.job.read(payload)
    except InvalidJob as error:
        raise GiveUp(
            f"payload: {error}; fix the sender, or give the kind a new version with an upcaster"
        ) from None


def run_of(context: dict[Any, Any]) -> Run:
    """Return the run of the engine's context."""
    attempt: Attempt = context["attempt"]
    return Run(
        id=context["job_id"],
        attempt=context["job_try"],
        lane=context["lane"],
        queued_at=context["enqueue_time"],
        uncertain=bool(context["unknown_effect"]),
        progress=attempt.progress,
        begin_effect=attempt.begin_effect,
        is_stopped=lambda: attempt.stopped is not None,
    )


def _blocking(run: Run) -> Run:
    """Return the run for a thread: its mark of an effect is awaited in the loop."""
    loop, begin = asyncio.get_running_loop(), run.begin_effect

    def begin_effect(note: str = "") -> bool:
        marking: Any = begin(note)
        return bool(asyncio.run_coroutine_threadsafe(marking, loop).result())

    run.begin_effect = begin_effect
    return run
