"""A child process of the worker: `python -m worker.own_jobs.child MODULES SOCKET`. `processes` has the messages.

Its output is the worker's; what it talks over is the socket. It ends when the worker closes the socket or dies.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, BinaryIO, cast

import orjson

from jobs.decisions import HandlerDecision
from jobs.run import Run
from worker.own_jobs.decision_json import decision_json
from worker.own_jobs.load import OwnJobs, load_jobs

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def main(arguments: list[str]) -> None:
    """Run jobs until the worker closes the socket."""
    modules, number = arguments
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs = load_jobs(modules)
    connection = socket.socket(fileno=int(number))
    stream = cast("BinaryIO", connection.makefile("rwb"))
    with suppress(BrokenPipeError, ConnectionResetError):
        for line in stream:
            _send(stream, _answer(jobs, orjson.loads(line), stream))


def _die_with_parent() -> None:
    """Let the kernel end this process with the worker: while it computes it would not notice."""
    with suppress(OSError, AttributeError):  # not on Linux: then it ends after its job
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _answer(jobs: OwnJobs, message: Mapping[str, Any], stream: BinaryIO) -> dict[str, Any]:
    """Run one job; return its result or error as JSON."""
    handler = jobs.handlers[message["kind"]]
    try:
        job = handler.job.read(message["payload"])
        result = (
            handler.function(job, _run(message["run"], stream)) if handler.takes_run else handler.function(job)
        )
        orjson.dumps(result, default=str)
    except HandlerDecision as decision:
        return decision_json(decision)
    except Exception as error:  # noqa: BLE001  any error of a function is its job's
        return {"raised": type(error).__name__, "text": f"{type(error).__name__}: {error}", "arguments": {}}
    return {"result": result}


def _run(facts: Mapping[str, Any], stream: BinaryIO) -> Run:
    def progress(done: float, total: float, note: str = "") -> None:
        _send(stream, {"progress": [done, total, note]})

    def begin_effect(note: str = "") -> bool:
        _send(stream, {"effect": note})
        return bool(orjson.loads(stream.readline())["began"])

    queued_at = datetime.fromisoformat(facts["queued_at"])
    return Run(**{**facts, "queued_at": queued_at}, progress=progress, begin_effect=begin_effect)


def _send(stream: BinaryIO, message: Mapping[str, Any]) -> None:
    stream.write(orjson.dumps(message, default=str) + b"\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # threads that a function left behind keep no child
