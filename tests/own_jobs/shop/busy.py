"""Kinds that compute in a child process, and do what a test tells them."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from momentus_client.jobs import GiveUp, Job, Park, Policy, Run, TryLater, handles

QUICK = Policy(tries=2, first_wait=timedelta(milliseconds=5))


@dataclass(frozen=True)
class Work(Job, kind="work.do", policy=QUICK):
    """One word for what is to be done, and a folder for what is to be seen of it."""

    word: str = ""
    folder: str = ""
    number: int = 0


@handles(Work, runs_in="process")
def do(work: Work, run: Run) -> object:
    """Returns the process unless the word says something else."""
    if work.folder:
        Path(work.folder, f"{work.word}-{run.attempt}-{os.getpid()}").touch()
    return WORDS[work.word](work, run) if work.word else os.getpid()


@dataclass(frozen=True)
class Brief(Work, kind="work.briefly", policy=QUICK):
    """As `Work`, with a time limit."""


@handles(Brief, runs_in="process", timeout=timedelta(seconds=0.3))
def do_briefly(brief: Brief, run: Run) -> object:
    """As `do`."""
    return do(brief, run)


@dataclass(frozen=True)
class Patient(Work, kind="work.patiently", policy=QUICK):
    """As `Brief`, with a limit that one rest of a tenth of a second keeps on a busy machine, and twenty do not."""


@handles(Patient, runs_in="process", timeout=timedelta(seconds=2))
def do_patiently(patient: Patient, run: Run) -> object:
    """As `do`."""
    return do(patient, run)


def _signal_oneself(work: Work, run: Run) -> object:
    if run.attempt == 1:
        os.kill(os.getpid(), work.number)
    return os.getpid()


def _raise(error: BaseException) -> object:
    raise error


def _leave_a_thread(work: Work, run: Run) -> object:
    """A thread that reports and asks for an effect after its job has ended."""

    def late() -> None:
        ended.wait()
        run.progress(1, 1, "late")
        Path(work.folder, f"late {run.begin_effect('late')}").touch()

    ended = threading.Event()
    threading.Thread(target=late, daemon=True).start()
    threading.Timer(0.05, ended.set).start()
    return os.getpid()


def _start_another(work: Work, _: Run) -> object:
    """A process of its own, which stays."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(work.folder, f"started-{other.pid}").touch()
    time.sleep(60)
    return None


def _report_often(_: Work, run: Run) -> object:
    for done in range(20_000):
        run.progress(done, 20_000, "numbers")
    time.sleep(60)
    return None


WORDS = {
    "wait": lambda _work, _run: time.sleep(60),
    "rest": lambda work, _run: time.sleep(work.number / 1000) or os.getpid(),
    "signal": _signal_oneself,
    "exit": lambda _work, _run: sys.exit("as it was told"),
    "leave": lambda work, run: os._exit(work.number) if run.attempt == 1 else os.getpid(),
    "fail": lambda _work, _run: _raise(ValueError("a lone \udc80 surrogate")),
    "stop": lambda _work, _run: _raise(StopIteration("nothing is left")),
    "snooze": lambda _work, run: _raise(TryLater("later", after=timedelta(0))) if run.attempt == 1 else "slept",
    "park": lambda _work, _run: _raise(Park("for people", why="people")),
    "give up": lambda _work, _run: _raise(GiveUp("never")),
    "large": lambda work, _run: "x" * work.number,
    "odd": lambda _work, _run: {1: {2**70}, "when": timedelta(1)},
    "too large a number": lambda _work, _run: 2**70,
    "misreport": lambda _work, run: run.progress(1, 0),
    "report": _report_often,
    "thread": _leave_a_thread,
    "other": _start_another,
    "terminate": lambda _work, _run: os.kill(os.getpid(), signal.SIGTERM) or "still here",
}
