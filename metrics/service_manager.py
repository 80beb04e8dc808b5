"""Notices to the service manager that started this process, in the protocol of systemd's sd_notify(3).

    READY=1      it runs, whether Redis answers or not: a process that waits for Redis must not be ended for it
    STATUS=...   what it waits for, with each sign of life
    WATCHDOG=1   twice in each interval of WatchdogSec, from the event loop, while nothing deadly is found
    STOPPING=1   it was told to stop, or stops by itself

Without NOTIFY_SOCKET nothing is sent. systemd ignores the notices of child processes, which inherit it.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import background
from metrics.health import Health

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
_WATCHDOG: Final = "WATCHDOG=1"


@asynccontextmanager
async def keep_notified(health: Health) -> AsyncIterator[None]:
    """Report that this process runs and, until the end of the block, is alive, if the service manager asks."""
    send_notice(READY)
    every = beat_seconds(os.environ, os.getpid())
    beating = [background.start_task("watchdog", partial(_beat, health, every))] if every else []
    try:
        yield
    finally:
        await background.stop_tasks(*beating)


def send_notice(*lines: str) -> None:
    """Send a notice; one that cannot be sent is lost, as the service manager's absence must not stop the work."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        path = f"\0{address[1:]}" if address.startswith("@") else address  # "@": an abstract name of Linux
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto("\n".join(lines).encode(), path)


def beat_seconds(environment: Mapping[str, str], process: int) -> float:
    """Return the seconds between two signs of life, or 0 if none are requested.

    >>> asked = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
    >>> beat_seconds(asked, 7), beat_seconds(asked, 8), beat_seconds({}, 7)
    (15.0, 0.0, 0.0)
    """
    asked = environment.get("WATCHDOG_USEC", "")
    if not asked.isdecimal() or environment.get("WATCHDOG_PID", str(process)) != str(process):
        return 0.0
    return int(asked) / 2_000_000


async def _beat(health: Health, every: float) -> None:
    while True:
        deadly, waiting = await health.find_deadly(), await health.find_waiting()
        send_notice(*([] if deadly else [_WATCHDOG]), f"STATUS={'; '.join([*deadly, *waiting]) or 'ready'}")
        await asyncio.sleep(every)
