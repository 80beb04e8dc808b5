"""Differences between the redis-py versions that this package supports: 5.2 to 8.x.

| since | difference                                                                   | source               |
|-------|------------------------------------------------------------------------------|----------------------|
| 6.0   | RedisCluster has no `connection_error_retry_attempts` and warns about        | `asyncio/cluster.py` |
|       | `cluster_error_retry_attempts`; `retry` replaces both                        |                      |
| 6.0   | clients repeat a command after a lost reply: 3 times, since 8.0 ten times    | `client.py`          |
| 6.0   | errors of a cluster lose their code: "MOVED 5 host:port" reads "5 host:port" | `_parsers/base.py`   |
| 7.x   | RedisCluster counts who entered it by `async with`, and closes at the last   | `asyncio/cluster.py` |
|       | exit                                                                         |                      |
| 7.2   | connections warn of `lib_name` and `lib_version`; `driver_info` replaces     | `connection.py`      |
|       | both                                                                         |                      |
| 8.0   | RESP3 unless `protocol` is given, 5 s of socket timeout unless one is given  | `connection.py`      |

So every connection of ours states its protocol, its timeouts, and that it repeats nothing: when a reply was lost,
only the caller knows whether the command may be sent again.
"""

from typing import Any

import redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

VERSION = tuple(int(part) for part in redis.__version__.split(".")[:2])
"""Major and minor version of the redis-py in use."""


def connection_options() -> dict[str, Any]:
    """Return the options of every redis-py connection that this package opens.

    CLIENT SETINFO is left out: Redis 7.0 does not know it, and it would cost the first call a round trip.
    """
    unnamed = {"driver_info": None} if VERSION >= (7, 2) else {"lib_name": None, "lib_version": None}
    return {"protocol": 2, **unnamed}


def cluster_options() -> dict[str, Any]:
    """Return the options with which RedisCluster repeats a command once, after it has looked for the primary."""
    if VERSION < (6, 0):
        return {"cluster_error_retry_attempts": 1, "connection_error_retry_attempts": 0}
    return {"retry": Retry(NoBackoff(), 1)}
