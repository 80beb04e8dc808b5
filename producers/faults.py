"""Translation of redis-py's errors into a producer's errors, the same for asyncio and threads."""

import socket
import ssl

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError as RedisConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from .errors import NotEnqueued, QueueFull, RedisUnavailable
from .link.unusable import WrongEventLoop
from .rights import missing_right

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    BusyLoadingError,
    MasterDownError,
    ClusterDownError,
)
_AWAY_CODES = (
    *("MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "READONLY"),
    *("CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN"),  # a slot without a primary, or on its way to another
    "BUSY ",  # a script runs for too long
    "ERR max number of clients",
)

_NO_DATABASE = ("DB index is out of range", "SELECT is not allowed in cluster mode", "invalid DB index")

_REPEAT = "repeat the call, for a job with the same key"


def translate_error(error: RedisError) -> NotEnqueued:
    """Translate an error of redis-py into one on which the caller can act."""
    if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM"):
        return QueueFull(
            "Redis: the memory limit (maxmemory) is reached; let workers drain the queue, or raise the limit"
        )
    if missing := missing_right(error):
        return NotEnqueued(
            f"Redis refused the call ({error}); missing: {missing}; check the user, its password and its "
            "rights (./run ops acl)"
        )
    if isinstance(error, _AWAY) or (isinstance(error, ResponseError) and str(error).startswith(_AWAY_CODES)):
        return RedisUnavailable(f"Redis cannot serve the call now ({error}); {_REPEAT}")
    if str(error).startswith("WRONGTYPE"):
        reason = str(error).partition(" script:")[0]
        return NotEnqueued(
            f"Redis: {reason}; another program writes to this database: remove that key, or use another database"
        )
    if any(words in str(error) for words in _NO_DATABASE):
        return NotEnqueued(
            f"url: names a database that this Redis does not have ({error}); name another one, or raise "
            "`databases`; a cluster has more than one only from Valkey 9 on (`cluster-databases`)"
        )
    if isinstance(error, WrongEventLoop):
        reason = f"{error}; nothing was sent"
    else:
        reason = f"Redis refused the call ({error}); check the server and its version"
    return NotEnqueued(reason)


def unreachable_error(error: OSError) -> RedisUnavailable:
    """Return the error for a connection that could not be opened."""
    return RedisUnavailable(f"Redis cannot be reached: {_reason(error)}; nothing was changed")


def _reason(error: OSError) -> str:
    """Return the reason given by the operating system or TLS, and what to check."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message}); check ssl_ca_certs and the host name"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason}); check that the port speaks TLS, and its version"
    if isinstance(error, socket.gaierror):
        return f"its host name cannot be resolved ({error.strerror}); check the address"
    if isinstance(error, FileNotFoundError):
        return (
            f"its socket, or a file of certificates that the address names, does not exist ({error.strerror}); "
            "check the address"
        )
    return f"{error}; check that it is running there"


def no_connection(budget: float) -> RedisUnavailable:
    """Return the error for a connection that was not open within the budget in seconds."""
    return RedisUnavailable(
        f"Redis: no connection within {budget * 1000:.0f} ms; {_REPEAT}. If this persists, check the address, the "
        "network and the name server; if Redis is far away, raise the budget"
    )


def no_answer(budget: float) -> RedisUnavailable:
    """Return the error for a call without a reply within the budget in seconds."""
    return RedisUnavailable(
        f"Redis: no reply within {budget * 1000:.0f} ms; the call may or may not have taken effect; {_REPEAT}"
    )
