"""Hold of a lane or a limit by an operator, until a given time or until it is released."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Hold of a lane or a limit.

    Attributes:
        until: time at which the hold ends; None: it ends when it is released.
        reason: text shown to operators.
    """

    until: datetime | None
    reason: str = field(repr=False)


def read_hold(encoded: bytes | None, *, now_ms: int) -> Hold | None:
    """Decode a hold as stored in Redis; None if there is none, or if it has ended.

    >>> read_hold(b'{"until_ms":5000,"reason":"full"}', now_ms=5000)
    >>> read_hold(b'{"until_ms":null,"reason":"full"}', now_ms=5000)
    Hold(until=None, reason='full')
    """
    if not encoded:
        return None
    try:
        stored = orjson.loads(encoded)
        until_ms, reason = stored.get("until_ms"), str(stored.get("reason", ""))
        until = None if until_ms is None else datetime.fromtimestamp(int(until_ms) / 1000, UTC)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return Hold(until=None, reason="the stored hold cannot be read; release it")
    over = until_ms is not None and until_ms <= now_ms
    return None if over else Hold(until=until, reason=reason)
