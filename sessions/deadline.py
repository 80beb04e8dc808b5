"""Wait for Redis no longer than a deadline, without ever cancelling a command.

A command that is cancelled between its request and its reply leaves the reply in the socket, where the next
command may take it for its own: that is how one user was once shown another user's data (redis-py's
CVE-2023-28858). So the waiting ends at the deadline, not the command: it runs on by itself until its own
socket timeout, and then gives its connection back, or closes it.

The client used must therefore have socket timeouts and a limited pool; `Sessions.connect` sets both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

Reply = TypeVar("Reply")

_unfinished: set[asyncio.Future[Any]] = set()


async def within(deadline: timedelta, command: Awaitable[Reply]) -> Reply:
    """The command's reply. Raises TimeoutError when the deadline passed first; the command itself runs on.

    Example:
        >>> reply = await within(timedelta(milliseconds=50), redis.get("key"))

    """
    running = asyncio.ensure_future(command)
    _unfinished.add(running)
    running.add_done_callback(_forget)
    done, _ = await asyncio.wait({running}, timeout=deadline.total_seconds())
    if not done:
        raise TimeoutError(f"no answer within {deadline / timedelta(milliseconds=1):.0f} ms")
    return running.result()


def _forget(finished: asyncio.Future[Any]) -> None:
    """Let go of a command, and look at its error so that asyncio does not report it as unseen."""
    _unfinished.discard(finished)
    if not finished.cancelled():
        finished.exception()
