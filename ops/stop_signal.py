"""Stop of a command by Ctrl-C or SIGTERM, without a traceback.

`quiet_start.py` lets the signal end the process while it loads, when there is nothing to clean up. From then on
:func:`until_stopped` cancels the work, and the work cleans up.
"""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Result = TypeVar("Result")


async def until_stopped(work: Coroutine[Any, Any, Result]) -> Result | None:
    """Run the work; SIGINT or SIGTERM cancels it once, and a further signal does not disturb its cleaning up.

    Returns:
        The result of the work, or None if it was cancelled.

    Example:
        >>> asyncio.run(until_stopped(serve()))
    """
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    stopped = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    running, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        running.cancel()
        with suppress(asyncio.CancelledError):
            return await running
        return None
    finally:
        stopping.cancel()
        for number, handler in handlers.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
