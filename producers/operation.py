"""An operation on queue, limits or suppression list as a value: what goes to Redis, and what its reply means.

Whoever carries it (an asyncio link, a pool of threads, a test's memory) sends the same bytes and reads the same
reply, so that two producers cannot differ in what they write. A new operation is one function that returns one of
these.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from .link import Argument
from .link.cluster import tag_of
from .link.script import Script, read_script

Result = TypeVar("Result")
Call = Callable[..., Awaitable[Any]]
"""Sends one command and returns its reply: :meth:`.link.Link.call`, or redis-py's ``execute_command``."""


def script(name: str) -> str:
    """The source of a script of this room."""
    return read_script(Path(__file__).parent / "scripts", name)


@cache
def script_named(name: str) -> Script:
    """A script of this room."""
    return Script(script(name))


@dataclass(slots=True)  # not frozen: that doubles the cost of making one, and there is one for every call
class Operation(Generic[Result]):
    """One call of a script.

    Attributes:
        script: the script's name in ``scripts/``.
        keys: its KEYS, all of one hash tag.
        arguments: its ARGV.
        read: turns the reply into the caller's result; raises what the operation raises.
    """

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument] = field(repr=False)
    read: Callable[[Any], Result]

    @property
    def tag(self) -> str:
        """The hash tag of its keys, braces included."""
        return tag_of(self.keys[0])

    @property
    def command(self) -> tuple[Argument, ...]:
        """The command that runs it, if the server knows the script."""
        return script_named(self.script).command(self.keys, self.arguments)

    async def over(self, call: Call) -> Result:
        """Run it. Raises RedisError, OSError, and what the operation raises."""
        return self.read(await script_named(self.script).run(call, self.keys, self.arguments))
