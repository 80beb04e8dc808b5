"""Ends what a supervisor leaves behind, however the supervisor ends.

The supervisor starts this file as a process of its own and keeps the writing end of its standard input.
Over it come lines: `+ PID SIGNAL` for a process group that was started, `- PID` for one that is gone,
`remove PATH` for a directory that is not to outlive them. The end of the input means that the supervisor
is no more, orderly or by SIGKILL: the groups still on the list get their signal, `GRACE` seconds, then
SIGKILL, and the directories are removed.

This needs nothing but pipes and process groups, so it works alike on Linux and macOS, and it reaches the
grandchildren too. What it cannot cover: a supervisor killed in the instant between starting a process and
writing its line, and somebody who kills this process as well.

It says `holding` once it runs. Standard library only, started with `python -I -S` in about 10 ms.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress

GRACE = 5.0


def main() -> None:
    """Keep the list until the input ends, then clear up."""
    for ours in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ours, signal.SIG_IGN)
    print("holding", flush=True)
    running: dict[int, int] = {}
    directories: list[str] = []
    for line in sys.stdin:
        note_line(line.rstrip("\n"), running, directories)
    end_groups(running)
    for directory in directories:
        remove_directory(directory)


def note_line(line: str, running: dict[int, int], directories: list[str]) -> None:
    """Take one line into the lists."""
    word, _, rest = line.partition(" ")
    if word == "+":
        pid, _, signal_number = rest.partition(" ")
        running[int(pid)] = int(signal_number)
    elif word == "-":
        running.pop(int(rest), None)
    elif word == "remove":
        directories.append(rest)


def end_groups(running: dict[int, int]) -> None:
    """Ask each group's leader to end, wait, and kill what is left of the groups."""
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
    """Remove the directory, again while a killed server's last children still write into it."""
    deadline = time.monotonic() + GRACE
    while os.path.lexists(directory) and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.02)


def is_group_alive(pid: int) -> bool:
    """Whether anything of the group is left."""
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
