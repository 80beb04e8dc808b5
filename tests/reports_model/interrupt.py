"""Something happens at the n-th await of a coroutine: wherever the event loop can come in between."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def interrupted(
    work: Coroutine[Any, Any, Any], *, at: int, meanwhile: Callable[[], Awaitable[None]]
) -> Generator[Any, Any, Any]:
    """Run the work; when it waits for the ``at``-th time, ``meanwhile`` comes first.

    What the work waits for goes on by itself. To cancel the work, ``meanwhile`` raises CancelledError.
    """
    waits = 0
    resume: Callable[[], Any] = lambda: work.send(None)  # noqa: E731  the two ways to go on
    while True:
        try:
            waiting_for = resume()
        except StopIteration as done:
            return done.value
        waits += 1
        try:
            if waits == at:
                yield from _run_whole(meanwhile).__await__()
            value = yield waiting_for
        except BaseException as error:  # noqa: BLE001  handed on to the work
            resume = lambda error=error: work.throw(error)  # noqa: E731
        else:
            resume = lambda value=value: work.send(value)  # noqa: E731


async def _run_whole(meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Run it to its end. A timeout of the work that passes meanwhile ends the work's wait afterwards, not this."""
    between = asyncio.ensure_future(meanwhile())
    timeout: asyncio.CancelledError | None = None
    while not between.done():
        try:
            await asyncio.wait({between})
        except asyncio.CancelledError as error:
            timeout = error
    if not between.cancelled():
        between.result()
    elif (task := asyncio.current_task()) is not None:
        task.cancel()
    if timeout is not None:
        raise timeout
