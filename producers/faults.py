"""Redis's faults in this room's words: one table for every way of speaking to it."""

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
)

_REPEAT = "repeat it, a job with the same key"


def in_our_words(error: RedisError) -> NotEnqueued:
    """What redis-py raised, as what the caller can act on."""
    if isinstance(error, OutOfMemoryError) or str(error).startswith("OOM"):
        return QueueFull("Redis is at its memory limit (maxmemory); let the workers drain it or raise the limit")
    if isinstance(error, _AWAY) or (isinstance(error, ResponseError) and str(error).startswith(_AWAY_CODES)):
        return RedisUnavailable(f"Redis cannot be asked now: {error}; {_REPEAT}")
    if str(error).startswith("WRONGTYPE"):
        what = str(error).partition(" script:")[0]
        return NotEnqueued(f"{what}; something else writes to this database: remove that key, or use another one")
    return NotEnqueued(f"Redis refused the call: {error}; check the server, its version and the user's rights")


def no_answer(budget: float) -> RedisUnavailable:
    """No answer, or no connection, within the budget in seconds."""
    return RedisUnavailable(
        f"No answer from Redis within {budget * 1000:.0f} ms; the call may or may not have taken effect: {_REPEAT}"
    )
