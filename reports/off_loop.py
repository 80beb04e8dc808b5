"""Threads for what keeps a processor busy: the event loop goes on sending mails meanwhile.

There are two, so that two refreshes share a machine with the rest of the worker and a queue of them waits here. A
thread that computes in Python hands the interpreter over when another asks for it, every few milliseconds
(``sys.setswitchinterval``); one call that works in C does not. So what runs here goes over many nodes in slices.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_FEW = 50

_Result = TypeVar("_Result")
_THREADS = ThreadPoolExecutor(2, "reports")


def off_loop(compute: Callable[[], _Result], *, nodes: int) -> asyncio.Future[_Result]:
    """Begin to compute in one of the threads, and return at once. What was begun goes on to its end there.

    Args:
        nodes: how many it goes over; what goes over few is done here and now, in less time than a thread takes.
    """
    loop = asyncio.get_running_loop()
    if nodes > _FEW:
        return loop.run_in_executor(_THREADS, contextvars.copy_context().run, compute)
    done: asyncio.Future[_Result] = loop.create_future()
    try:
        done.set_result(compute())
    except Exception as error:  # noqa: BLE001  whoever waits gets it, as from a thread
        done.set_exception(error)
    return done
