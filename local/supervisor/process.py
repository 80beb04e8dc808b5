"""Supervised process: a program, its readiness check, and the decision at its end.

The life of a process:

    stopped -> starting -> ready -> (it ends) -> waiting -> starting -> ...
                  |           |
                  |           +-------------> finished    it ended, and its policy is never to restart
                  +-------------------------> given up    it exited with code 2 at its start: a restart
                                                          cannot help

`after_exit` is that decision, on values alone. It does not interpret other exit codes: 0 from a
process that should be running is an end like any other.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from signal import SIGTERM, Signals

CONFIGURATION_FAULT = 2
"""The exit code of a program with wrong arguments or settings, as in shells and argparse."""


class SupervisorError(Exception):
    """A process that could not be started or kept running."""


class ProcessFailed(SupervisorError):
    """A process that is given up; the message ends with its last lines.

    Args:
        name: of the process.
        reason: the cause, as a clause: `it was not ready within 30 s`.
        last_lines: the end of its output, oldest first.
    """

    def __init__(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        words = "\n".join(f"    {line}" for line in last_lines) or "    (it wrote nothing)"
        super().__init__(f"{name}: {reason}. Its last lines were:\n{words}")
        self.name = name
        self.reason = reason
        self.last_lines = tuple(last_lines)


class RestartPolicy(Enum):
    """Decision after an unexpected end."""

    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Wait before the next start: doubling from `first` up to `longest`, with jitter.

    `healthy_after` is the time ready after which earlier failures are forgotten.
    """

    first: timedelta = timedelta(milliseconds=250)
    longest: timedelta = timedelta(seconds=30)
    healthy_after: timedelta = timedelta(seconds=20)

    def wait(self, failures: int, chance: float) -> timedelta:
        """Return the wait after the n-th failure in a row, from 1.

        `chance` in [0, 1) spreads it over its upper half.

        >>> Backoff().wait(1, 0.0), Backoff().wait(2, 0.0)
        (datetime.timedelta(microseconds=125000), datetime.timedelta(microseconds=250000))
        """
        doublings = min(failures - 1, 30)  # beyond this the longest wait applies and the number would overflow
        return min(self.first * 2.0**doublings, self.longest) * (0.5 + chance / 2)


async def _nothing_to_prepare() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One program to keep running.

    Args:
        name: for users; the prefix of its log lines, unique among the supervised.
        argv: the command, found without a shell.
        environment: additions to the supervisor's environment.
        cwd: its working directory; the supervisor's by default.
        user: as root, the user it runs as.
        prepare: run once before its first start; an error it raises stops the start and reaches the caller.
        ready: check of readiness by pid; an exception means not yet. Without it the process is ready at once.
        ready_within: timeout of the first start altogether, and of each later one alone.
        restart: decision after an unexpected end.
        backoff: the waits between restarts.
        stop_signal: signal that asks it to end.
        stop_again: interval at which that signal is repeated until it ends; None for once. For servers that may
            refuse it at times (Valkey while it rewrites its log); to others a second one means "at once".
        drain: longest time to end before it is killed.

    Example:
        Process(name="worker", argv=[sys.executable, "-m", "worker"], drain=timedelta(seconds=30))
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    user: str | None = None
    prepare: Callable[[], Awaitable[None]] = _nothing_to_prepare
    ready: Callable[[int], Awaitable[bool]] | None = None
    ready_within: timedelta = timedelta(seconds=30)
    restart: RestartPolicy = RestartPolicy.ALWAYS
    backoff: Backoff = Backoff()
    stop_signal: Signals = SIGTERM
    stop_again: timedelta | None = None
    drain: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    """The end of one run.

    `exit_code` is negative for a signal; `ready_for` is None if the process was never ready.
    """

    exit_code: int
    ready_for: timedelta | None


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """Restart after `wait`; `failures` in a row so far."""

    wait: timedelta
    failures: int


@dataclass(frozen=True, slots=True)
class AbandonDecision:
    """No restart, because it cannot help; `reason` says why, as a clause."""

    reason: str


@dataclass(frozen=True, slots=True)
class FinishDecision:
    """No restart, because the process has finished."""


def after_exit(
    process: Process, ended: ProcessEnd, *, failures: int, chance: float
) -> RestartDecision | AbandonDecision | FinishDecision:
    """Return the decision after an unexpected end.

    Args:
        process: the one that ended.
        ended: the run that ended.
        failures: ends in a row before this one.
        chance: in [0, 1), for the jitter.
    """
    if process.restart is RestartPolicy.NEVER and (ended.ready_for is not None or ended.exit_code == 0):
        return FinishDecision()
    if process.restart is RestartPolicy.NEVER:
        return AbandonDecision(f"it ended with {describe_exit(ended.exit_code)} before it was ready")
    was_healthy = ended.ready_for is not None and ended.ready_for >= process.backoff.healthy_after
    if ended.exit_code == CONFIGURATION_FAULT and not was_healthy:
        return AbandonDecision(
            f"it exited with code {CONFIGURATION_FAULT} at its start, which means a wrong setting"
        )
    failures = 1 if was_healthy else failures + 1
    return RestartDecision(process.backoff.wait(failures, chance), failures)


def describe_exit(exit_code: int) -> str:
    """Return the exit code in words: `code 1`, `signal SIGKILL`."""
    return f"signal {Signals(-exit_code).name}" if exit_code < 0 else f"code {exit_code}"
