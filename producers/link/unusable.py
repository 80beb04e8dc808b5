"""Links that an event loop may not use: every call raises before anything is sent.

Two cases. After a fork, the parent's event loop in the child shares sockets with the parent: both would read each
other's replies. And a redis-py client belongs to the event loop of its first call: in another loop redis-py fails
only after it has sent the command, so that nobody knows whether it was run.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, Self

from redis.exceptions import RedisError

from .command import Argument

FORKED = (
    "event loop: was started before this process was forked, and its connections belong to the parent; start one "
    "in this process (asyncio.run), or use SyncProducer and SyncSessions"
)
FOREIGN_CLIENT = (
    "client: this redis-py client was used in another event loop, to which its connections belong; give each "
    "event loop a client of its own, or use `connect`, which makes connections for each loop"
)


class WrongEventLoop(RedisError):
    """This event loop may not use the connections; nothing was sent."""


class UnusableLink:
    """Link whose calls raise :class:`WrongEventLoop`.

    Args:
        reason: the error's text.
        kept: an object that must not be collected, because that would close the parent's sockets here with
            warnings.
    """

    connection = 0

    def __init__(self, reason: str, kept: object = None) -> None:
        self._reason = reason
        self._kept = kept

    def of(self, tag: str) -> Self:
        """Return itself: no key is served."""
        del tag
        return self

    async def call(self, *command: Argument) -> NoReturn:
        """Raise the error."""
        del command
        raise WrongEventLoop(self._reason)

    async def call_many(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Raise the error."""
        del commands
        raise WrongEventLoop(self._reason)

    def drop(self) -> None:
        """Do nothing: the connections are the parent's."""

    async def close(self) -> None:
        """Do nothing: the connections are the parent's."""
