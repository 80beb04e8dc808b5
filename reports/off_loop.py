"""Threads for computation, so that the event loop can keep probing and serving other refreshes.

There are two threads, so that two refreshes can compute beside the rest of the worker; others wait. A thread
of Python code releases the interpreter every few milliseconds (``sys.setswitchinterval``), but a single call into
C does not. So code that runs here processes many nodes in slices.
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
    """Start a computation in one of the threads and return at once. Once started it runs to its end.

    Args:
        nodes: number of nodes to process; for at most 50 it runs at once, in less time than a thread takes.
    """
    loop = asyncio.get_running_loop()
    if nodes > _FEW:
        return loop.run_in_executor(_THREADS, contextvars.copy_context().run, compute)
    done: asyncio.Future[_Result] = loop.create_future()
    try:
        done.set_result(compute())
    except Exception as error:  # noqa: BLE001  the awaiting caller gets it, as from a thread
        done.set_exception(error)
    return done
