"""Attempts of own jobs: from the engine's context and payload to the handler's job and run, in the loop."""

from collections.abc import Callable, Coroutine
from typing import Any

from jobs.decisions import GiveUp
from jobs.fields import InvalidJob
from jobs.handler import JobHandler
from jobs.job import Job
from jobs.run import Run
from producers.description import read_token
from worker.engine.attempt import Attempt

Call = Callable[..., Coroutine[Any, Any, object]]


def in_loop(handler: JobHandler) -> Call:
    """Return the engine's function for a coroutine."""

    async def call(context: dict[Any, Any], /, **payload: Any) -> object:  # noqa: ANN401  JSON of any type
        job = read_job(handler, payload)
        if not handler.takes_run:
            return await handler.function(job)
        return await handler.function(job, run_of(context))

    return call


def read_job(handler: JobHandler, payload: dict[str, Any]) -> Job:
    """Return the job that a payload describes. Raises GiveUp if it cannot be read, as no later attempt could."""
    try:
        return handler.job.read(payload)
    except InvalidJob as error:
        raise GiveUp(
            f"payload: {error}; fix the sender, or give the kind a new version with an upcaster"
        ) from None


def run_of(context: dict[Any, Any]) -> Run:
    """Return the `Run` for the engine's context."""
    attempt: Attempt = context["attempt"]
    return Run(
        id=context["job_id"],
        attempt=context["job_try"],
        lane=context["lane"],
        worker=read_token(attempt.claim.token)[0],
        queued_at=context["enqueue_time"],
        uncertain=bool(context["unknown_effect"]),
        progress=attempt.progress,
        begin_effect=attempt.begin_effect,
        is_stopped=lambda: attempt.stopped is not None,
    )
