"""Jobs of a child process: each message from the worker is one job; the last reply is its outcome."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, BinaryIO

import structlog

from jobs.decisions import HandlerDecision
from jobs.handler import JobHandler
from jobs.run import Run
from worker.own_jobs.child.channel import Channel
from worker.own_jobs.decision_json import decision_json, error_json
from worker.own_jobs.frames import Message, read_frame
from worker.tracing import continued_trace


def serve_jobs(handlers: Mapping[str, JobHandler], stream: BinaryIO) -> None:
    """Run jobs until the stream ends."""
    with suppress(BrokenPipeError, ConnectionResetError):
        Channel(stream).send_outcome({"ready": True})
        while (message := read_frame(stream)) is not None:
            _bind(message)
            channel = Channel(stream)
            with continued_trace(message["trace"]):
                channel.send_outcome(_carry_out(handlers[message["kind"]], message, channel))


def _bind(message: Message) -> None:
    """Bind the job's fields to the lines that the function logs, as in the worker."""
    run = message["run"]
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        job_id=run["id"], kind=message["kind"], lane=run["lane"], attempt=run["attempt"]
    )


def _carry_out(handler: JobHandler, message: Message, channel: Channel) -> Message:
    """Run one job and return the message with its outcome."""
    try:
        job = handler.job.read(message["payload"])
        if handler.takes_run:
            returned = handler.function(job, _run(message["run"], channel))
        else:
            returned = handler.function(job)
        return {"result": handler.checked_result(returned)}
    except HandlerDecision as decision:
        return decision_json(decision)
    except BaseException as error:  # noqa: BLE001  any error of a function is its job's, SystemExit too
        return error_json(error)


def _run(facts: Mapping[str, Any], channel: Channel) -> Run:
    queued_at = datetime.fromisoformat(facts["queued_at"])
    return Run(
        **{**facts, "queued_at": queued_at}, progress=channel.report_progress, begin_effect=channel.begin_effect
    )
