"""Operations on queue, limits and suppression list as values: a script's call and how to read its reply.

Every runner (an asyncio link, a pool of threads, a test's memory) sends the same bytes and reads the same reply,
so that two producers cannot write differently. A new operation is one function that returns an :class:`Operation`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .link import Argument
from .link.command import tag_of

if TYPE_CHECKING:
    from .link.script import Script

Result = TypeVar("Result")
Call = Callable[..., Awaitable[Any]]
"""Function that sends one command and returns its reply: :meth:`.link.Link.call` or ``execute_command``."""


def script_source(name: str) -> str:
    """Return the source of a script in ``scripts/``."""
    from .link.script import SCRIPTS, read_script  # noqa: PLC0415  as below

    return read_script(SCRIPTS, name)


@cache
def script_named(name: str) -> "Script":
    """Return a script in ``scripts/`` by its name."""
    from .link.script import Script  # noqa: PLC0415  loads redis-py, at the first call

    return Script(script_source(name))


@dataclass(slots=True)  # not frozen: that doubles the cost of making one, and there is one for every call
class Operation(Generic[Result]):
    """One call of a script.

    Attributes:
        script: the script's name in ``scripts/``.
        keys: the script's KEYS, all of one hash tag.
        arguments: the script's ARGV.
        read: turns the reply into the caller's result; raises the operation's errors.
    """

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument] = field(repr=False)
    read: Callable[[Any], Result]

    @property
    def tag(self) -> str:
        """The hash tag of the keys, braces included."""
        return tag_of(self.keys[0])

    @property
    def command(self) -> tuple[Argument, ...]:
        """The command that runs the script by its digest; the server must have it loaded."""
        return script_named(self.script).command(self.keys, self.arguments)

    async def run(self, call: Call) -> Result:
        """Run the operation. Raises RedisError, OSError, and the operation's errors."""
        return self.read(await script_named(self.script).run(call, self.keys, self.arguments))
