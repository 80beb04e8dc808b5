"""The job as an application declares it, three times: for the event loop, a thread and a child process."""

from dataclasses import dataclass

from bench.queue_peers.contract import async_job, job
from jobs import Job, handles


@dataclass(frozen=True)
class _Content:
    to: str
    subject: str
    template: str
    language: str
    message_id: str
    task: str
    due: str
    link: str


@dataclass(frozen=True)
class InLoop(_Content, Job, kind="bench.loop"):
    """For a coroutine."""


@dataclass(frozen=True)
class InThread(_Content, Job, kind="bench.thread"):
    """For a plain function."""


@dataclass(frozen=True)
class InProcess(_Content, Job, kind="bench.process"):
    """For a function that computes."""


CLASSES: dict[str, type[InLoop] | type[InThread] | type[InProcess]] = {
    "loop": InLoop,
    "thread": InThread,
    "process": InProcess,
}


@handles(InLoop)
async def in_loop(mail: InLoop) -> None:
    """Write down the start."""
    await async_job(**vars(mail))


@handles(InThread)
def in_thread(mail: InThread) -> None:
    """Write down the start."""
    job(**vars(mail))


@handles(InProcess, runs_in="process")
def in_process(mail: InProcess) -> None:
    """Write down the start."""
    job(**vars(mail))
