"""A Lua script: called by its digest, loaded when the server does not know it."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from .link import Argument


class Script:
    """One script file's text.

    Args:
        source: the text.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: Sequence[str], arguments: Sequence[Argument]) -> tuple[Argument, ...]:
        """The command that runs it, if the server knows it."""
        return ("EVALSHA", self._digest, len(keys), *keys, *arguments)

    async def run(
        self, call: Callable[..., Awaitable[Any]], keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        """Run it; after a restart, a failover or SCRIPT FLUSH the server is told of it first.

        Args:
            call: sends one command and returns its reply; :meth:`Link.call` or redis-py's ``execute_command``.
        """
        command = self.command(keys, arguments)
        try:
            return await call(*command)
        except NoScriptError:
            pass
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        await call("SCRIPT", "LOAD", self._source)
        return await call(*command)
