"""Connections to Redis, for asyncio and for threads: addresses, search for the primary, and the protocol.

| file                   | duty                                                                               |
|------------------------|------------------------------------------------------------------------------------|
| `address`              | parses addresses: a server, the primary of sentinels, a cluster                    |
| `command`              | types of a command's arguments, and the hash tag of its keys                       |
| `sentinel`, `cluster`  | queries to a sentinel or a node, and the meaning of their replies; no I/O          |
| `primary`, `race`      | search for the primary, for asyncio and for threads                                |
| `wire`                 | the bytes of one connection, and the callers who wait for replies                  |
| `link`, `links`        | one shared connection; the links of one process                                    |
| `deadline`             | one deadline for all steps of a call in a thread                                   |
| `sync_wire`, `sync_pool` | connections for threads                                                          |
| `sync`, `sync_slots`   | links for threads                                                                  |
| `application_client`   | links over a redis-py client that an application hands in                          |
| `redis_versions`       | differences between redis-py 5.2 and 8.x                                           |
| `script`               | a Lua script, called by its digest                                                 |

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
