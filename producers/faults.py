"""Redis's faults in this room's words: one table for every way of speaking to it."""

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
    "BUSY ",  # a script that runs for too long
    "ERR max number of clients",
)

_NO_DATABASE = ("DB index is out of range", "SELECT is not allowed in cluster mode", "invalid DB index")

_REPEAT = "repeat it, a job with the same key"


def in_our_words(error: RedisError) -> NotEnqueued:
    """What redis-py raised, as what the caller can act on."""
    if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM"):
        return QueueFull("Redis is at its memory limit (maxmemory); let the workers drain it or raise the limit")
    if missing := missing_right(error):
        return NotEnqueued(
            f"Redis refused the call: {error}; missing: {missing}; check the user, its password and its rights "
            "(./run ops acl)"
        )
    if isinstance(error, _AWAY) or (isinstance(error, ResponseError) and str(error).startswith(_AWAY_CODES)):
        return RedisUnavailable(f"Redis cannot be asked now: {error}; {_REPEAT}")
    if str(error).startswith("WRONGTYPE"):
        what = str(error).partition(" script:")[0]
        return NotEnqueued(f"{what}; something else writes to this database: remove that key, or use another one")
    if any(words in str(error) for words in _NO_DATABASE):
        return NotEnqueued(
            f"The address names a database that this Redis does not have: {error}; name another one, or raise "
            "`databases`; a cluster has more than one only from Valkey 9 on (`cluster-databases`)"
        )
    return NotEnqueued(f"Redis refused the call: {error}; check the server and its version")


def unreachable(error: OSError) -> RedisUnavailable:
    """No connection could be made, and why."""
    return RedisUnavailable(f"Redis cannot be reached: {_why(error)}; nothing was changed")


def _why(error: OSError) -> str:
    """What the operating system or TLS says, with what to check."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message}); check ssl_ca_certs and the host name"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason}); check that the port speaks TLS, and its version"
    if isinstance(error, socket.gaierror):
        return f"its host name cannot be resolved ({error.strerror}); check the address"
    if isinstance(error, FileNotFoundError):
        return f"its socket does not exist ({error.strerror}); check the address"
    return f"{error}; check that it runs there"


def no_connection(budget: float) -> RedisUnavailable:
    """No connection within the budget in seconds."""
    return RedisUnavailable(
        f"No connection to Redis within {budget * 1000:.0f} ms: {_REPEAT}. If this lasts, check the address, the "
        "network and the name server; if Redis is far away, raise the budget"
    )


def no_answer(budget: float) -> RedisUnavailable:
    """No answer, or no connection, within the budget in seconds."""
    return RedisUnavailable(
        f"No answer from Redis within {budget * 1000:.0f} ms; the call may or may not have taken effect: {_REPEAT}"
    )
