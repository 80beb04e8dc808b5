"""Levels of a call: where a job is kept until it ends."""

from typing import Literal

from ..errors import InvalidRequest

Level = Literal["redis", "ledger", "fallback"]
"""``redis``: in Redis; ``ledger``: a row in the caller's transaction; ``fallback``: in Redis, else a row."""
_LEVELS = ("redis", "ledger", "fallback")


def check_level(level: object, connection: object) -> None:
    """Check that a call has the connection that its level needs.

    Raises:
        InvalidRequest: an unknown level, a connection at level ``redis``, or no connection at another level.
    """
    if level not in _LEVELS:
        raise InvalidRequest(f"level: must be 'redis', 'ledger' or 'fallback', not {level!r}")
    if level == "redis" and connection is not None:
        raise InvalidRequest(
            "connection: is not used at level 'redis'; to add the job to its transaction, give level='ledger'"
        )
    if level != "redis" and connection is None:
        raise InvalidRequest(
            f"connection: is missing; level {level!r} writes a row: give your connection to Postgres, an "
            "SQLAlchemy session, or the alias of a Django database"
        )
