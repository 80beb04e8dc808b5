"""Health of a process, with what is wrong with it, for probes and for the service manager.

    live     its event loop answers, and it found nothing that only a restart would fix
    ready    it can do its work now; the servers it needs, like Redis, answer

A server that is down makes a process unready and leaves it live: a restart would not bring that server back.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

FindReasons = Callable[[], Awaitable[Sequence[str]]]
"""Function that returns reasons for operators, without data; none if nothing is wrong."""


async def find_nothing() -> Sequence[str]:
    """Return no reason: the check is that the event loop runs this at all."""
    return ()


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one process: whether it is live, and whether it is ready.

    Args:
        find_deadly: returns why it should be started again.
        find_waiting: returns why it cannot work now.
    """

    find_deadly: FindReasons = find_nothing
    find_waiting: FindReasons = find_nothing
