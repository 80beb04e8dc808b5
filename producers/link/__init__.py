"""Connections to Redis, for asyncio and for threads: addresses, search for the primary, and the protocol.

Backends, sessions, the reader, the worker and the command line all use this package; no other code connects to
Redis. What connects is loaded at first use, and redis-py with it: composing a command needs neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .command import Argument as Argument

if TYPE_CHECKING:
    from .link import (
        IDLE_SECONDS as IDLE_SECONDS,
        NOT_THE_PRIMARY as NOT_THE_PRIMARY,
        Link as Link,
        is_error as is_error,
    )

_CONNECTING = ("IDLE_SECONDS", "Link", "NOT_THE_PRIMARY", "is_error")


def __getattr__(name: str) -> object:
    """Return a public name from the module that connects (PEP 562)."""
    if name not in _CONNECTING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".link", __name__), name)
