"""The one way to Redis: where it is, who is the primary, how it is spoken to; with asyncio and without.

| file                   | duty                                                                               |
|------------------------|------------------------------------------------------------------------------------|
| `address`              | reads where Redis is: a server, the primary of sentinels, a cluster                |
| `sentinel`, `cluster`  | what a sentinel or a node is asked, and what its reply means; no I/O               |
| `primary`              | asks all of them at once                                                           |
| `wire`                 | the bytes of one connection, and who waits for which reply                         |
| `link`, `links`        | one shared connection; those of one process                                        |
| `deadline`, `sync`     | connections and links for threads                                                  |
| `script`               | a Lua script, called by its digest                                                 |

Backends, sessions, the reader, the worker and the command line all use this room, and nothing else connects.
"""

from .link import IDLE_SECONDS as IDLE_SECONDS, NOT_THE_PRIMARY as NOT_THE_PRIMARY, Link as Link, says as says
from .wire import Argument as Argument
