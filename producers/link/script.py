"""Lua script that is called by its digest, and loaded when the server does not know it.

Redis's Lua has no imports. Code that several scripts share, or need only sometimes, is a module that is put before
them when they are read: ``require_blocked()`` runs ``blocked.lua``, which costs nothing until then.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from .command import Argument

PARTS: Mapping[str, Sequence[str]] = {
    "claim": ("blocked", "unique", "uncertain", "ledger", "window", "limits", "turns", "claim_limits"),
    "erase": ("unique",),
    "finish": ("blocked", "unique", "uncertain", "ledger"),
    "push": ("ledger",),
    "resolve": ("ledger",),
    "revive": ("unique", "ledger"),
    "take_out": ("blocked", "unique", "uncertain", "ledger"),
    "limits_change": ("blocked",),
    "limits_state": ("window", "limits"),
    "reroute": ("blocked",),
    "suppress": ("doubt",),
}
"""Files put before a script, in this order: beside it or in this package, each a Lua module."""

SCRIPTS = Path(__file__).parents[1] / "scripts"
"""The folder of the queue's scripts."""


@cache
def read_script(folder: Path, name: str) -> str:
    """Read a script and its modules; its first line stays the first, where Redis expects flags."""
    head, newline, body = _text(folder, name).partition("\n")
    parts = [f"local function require_{part}()\n{_text(folder, part)}end\n\n" for part in PARTS.get(name, ())]
    return head + newline + "".join(parts) + body


def _text(folder: Path, name: str) -> str:
    beside = folder / f"{name}.lua"
    return (beside if beside.exists() else SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")


class Script:
    """Text of a script file.

    Args:
        source: the text.

    Attributes:
        digest: SHA-1 of the text in hex, by which a server that has the script runs it.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: Sequence[str], arguments: Sequence[Argument]) -> tuple[Argument, ...]:
        """Return the command that runs the script by its digest; the server must have it loaded."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)

    async def run(
        self, call: Callable[..., Awaitable[Any]], keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:  # noqa: ANN401  a reply is what the script returns
        """Run the script; after a restart, a failover or SCRIPT FLUSH it is loaded first.

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
