"""Gathering of calls that come at about the same time, while the event loop has other work.

A call of Redis costs about the same for one job as for ten. Where many jobs run, others are about to need the same
call; where the loop has nothing else to do, waiting for them would be idle time, and the call leaves at once.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter

_IDLE_SECONDS = 30e-6
"""A shorter round of the loop has done no work for a job: an empty one takes 10 us."""


async def wait_while_busy(*, rounds: int, wanted: Callable[[], bool] = lambda: True) -> None:
    """Wait for some rounds of the event loop, until one has no other work.

    Args:
        rounds: the largest number of rounds.
        wanted: called before each round; False ends the wait.
    """
    began = perf_counter()
    while rounds > 0 and wanted():
        await asyncio.sleep(0)
        ended = perf_counter()
        if ended - began < _IDLE_SECONDS:
            return
        began, rounds = ended, rounds - 1
