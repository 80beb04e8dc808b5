"""Reaper: ends the processes that a supervisor leaves behind, however the supervisor ends.

The supervisor starts this file as a separate process and keeps the writing end of its standard input.
It writes lines: `+ PID SIGNAL` for a process group that was started, `- PID` for one that has ended,
`remove PATH` for a directory to remove with the supervisor. The end of the input means that the supervisor
has ended, normally or by SIGKILL: the groups still on the list get their signal, `GRACE` seconds, then
SIGKILL, and the directories are removed.

It needs only pipes and process groups, so it works alike on Linux and macOS, and it reaches the
grandchildren too. Not covered: a supervisor killed between starting a process and writing its line, and
a user who kills this process as well.

It prints `holding` once it runs. Standard library only, started with `python -I -S` in about 10 ms.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress

GRACE = 5.0


def main() -> None:
    """Keep the list until the input ends, then end the groups and remove the directories."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("holding", flush=True)
    running: dict[int, int] = {}
    directories: list[str] = []
    for line in sys.stdin:
        note_line(line.rstrip("\n"), running, directories)
    end_groups(running)
    for directory in directories:
        remove_directory(directory)


def note_line(line: str, running: dict[int, int], directories: list[str]) -> None:
    """Apply one line to the lists."""
    word, _, rest = line.partition(" ")
    if word == "+":
        pid, _, signal_number = rest.partition(" ")
        running[int(pid)] = int(signal_number)
    elif word == "-":
        running.pop(int(rest), None)
    elif word == "remove":
        directories.append(rest)


def end_groups(running: dict[int, int]) -> None:
    """Send each group's leader its signal, wait, and kill the rest of the groups."""
    for pid, signal_number in running.items():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal_number)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(is_group_alive(pid) for pid in running):
        time.sleep(0.02)
    for pid in running:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def remove_directory(directory: str) -> None:
    """Remove the directory, repeatedly while a killed server's last children still write into it."""
    deadline = time.monotonic() + GRACE
    while os.path.lexists(directory) and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.02)


def is_group_alive(pid: int) -> bool:
    """Return True if a process of the group is left."""
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
