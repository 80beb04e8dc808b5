"""Job kinds of a shop: the module that backend and worker import, by the client wheel's names."""

import asyncio
import gc
import os
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from momentus_client.jobs import GiveUp, Job, Policy, Run, TryLater, handles
from momentus_client.producers.limits import Limit

LIMITS = [Limit("bank", concurrency=1)]
QUICK = Policy(tries=3, first_wait=timedelta(milliseconds=20), longest_wait=timedelta(milliseconds=50))


@dataclass(frozen=True)
class Invoice(Job, kind="invoice.send", lane="invoices", policy=QUICK, version=2):
    """Sent by value, or by the name of its kind; version 1 had no currency."""

    order: int
    currency: str = "EUR"


@handles(Invoice, upcasters={1: lambda old: {**old, "currency": "ESP"}})
async def send_invoice(invoice: Invoice, run: Run) -> dict[str, object]:
    """The fields, and what the run says of itself."""
    return {
        "order": invoice.order,
        "currency": invoice.currency,
        "attempt": run.attempt,
        "lane": run.lane,
        "id": run.id,
    }


@dataclass(frozen=True)
class Steps(Job, kind="steps.take", policy=QUICK):
    """Does as it is told, attempt by attempt: its words are what each attempt does."""

    words: list[str]
    folder: str = ""


@handles(Steps)
async def take_steps(steps: Steps, run: Run) -> str:
    """In the event loop."""
    word = steps.words[min(run.attempt, len(steps.words)) - 1]
    if word == "fail":
        raise ValueError("as it was told")
    if word == "snooze":
        flag = Path(steps.folder) / "snoozed"
        if flag.exists():
            return "after a snooze, uncharged"
        flag.touch()
        raise TryLater("not yet", after=timedelta(milliseconds=20), charged=False)
    if word == "give up":
        raise GiveUp("no such order")
    if word == "wait":
        run.progress(1, 3, "steps")
        await asyncio.Event().wait()
    if word == "effect":
        return f"effect {await run.begin_effect('the bank')}"
    return word


@dataclass(frozen=True)
class Blocking(Job, kind="blocking.take", policy=QUICK):
    """For a plain function, in a thread."""

    word: str
    folder: str = ""


@handles(Blocking)
def take_blocking(job: Blocking, run: Run) -> str:
    """Blocks its thread until it sees that it is stopped, or does its effect."""
    if job.word == "wait":
        run.progress(1, 2, "in a thread")
        while not run.is_stopped():
            time.sleep(0.01)
        Path(job.folder, "stopped").touch()
        raise TryLater("stopped")
    if job.word == "effect":
        return f"effect {run.begin_effect('the bank')}"
    return f"{job.word} in {os.getpid()}"


@dataclass(frozen=True)
class Computed(Job, kind="sum.compute", lane="sums", policy=QUICK):
    """For a function in a child process."""

    numbers: list[int]
    word: str = ""


@handles(Computed, runs_in="process", timeout=timedelta(seconds=60))
def compute(job: Computed, run: Run) -> dict[str, int]:
    """The sum, and the process that computed it."""
    if job.word == "die" and run.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.word == "fail":
        raise ValueError("as it was told")
    if job.word == "give up":
        raise GiveUp("no such numbers")
    if job.word == "effect":
        return {"began": int(run.begin_effect("sum"))}
    if job.word == "wait":
        run.progress(1, 2, "in a child")
        while True:
            time.sleep(0.01)
    return {"sum": sum(job.numbers), "pid": os.getpid()}


@dataclass(frozen=True)
class Limited(Job, kind="bank.call", limit="bank", policy=QUICK):
    """One at a time in the whole fleet."""

    folder: str


@handles(Limited)
async def call_bank(job: Limited) -> int:
    """The number of calls under way, which must be one."""
    begun = Path(job.folder, "begun")
    mine = begun / str(id(job))
    begun.mkdir(exist_ok=True)
    mine.touch()
    await asyncio.sleep(0.02)
    together = len(list(begun.iterdir()))
    mine.unlink()
    return together


@dataclass(frozen=True)
class Collection(Job, kind="collection.describe"):
    """Tells of Python's collector."""


@handles(Collection)
async def describe_collection(_: Collection) -> dict[str, object]:
    """Whether it runs, and which share of the objects it need not scan."""
    frozen = gc.get_freeze_count()
    return {"runs": gc.isenabled(), "frozen": frozen > len(gc.get_objects())}
