"""A hold: something waits because somebody said so, until a time or until somebody releases it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a lane or a limit waits.

    Attributes:
        until: when it ends by itself; None: when somebody releases it.
    """

    until: datetime | None
    reason: str = field(repr=False)


def read_hold(octets: bytes | None, *, now_ms: int) -> Hold | None:
    """The hold as Redis has it; None when there is none, or when it is over.

    >>> read_hold(b'{"until_ms":5000,"reason":"full"}', now_ms=5000)
    >>> read_hold(b'{"until_ms":null,"reason":"full"}', now_ms=5000)
    Hold(until=None, reason='full')
    """
    if not octets:
        return None
    try:
        told = orjson.loads(octets)
        until_ms, reason = told.get("until_ms"), str(told.get("reason", ""))
        until = None if until_ms is None else datetime.fromtimestamp(int(until_ms) / 1000, UTC)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return Hold(until=None, reason="a hold that cannot be read; release it")
    over = until_ms is not None and until_ms <= now_ms
    return None if over else Hold(until=until, reason=reason)
