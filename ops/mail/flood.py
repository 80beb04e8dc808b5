"""Floods: many addresses suppressed for bounces within minutes, found in the audit log.

Workers avoid that (`doubt.lua`), but a backend may suppress every address that its provider reports. Only the last
lines of the log are read, and only those of the last day.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from redis.asyncio import Redis

from producers.keys import MAIL_SUPPRESSION_LOG

_LINES = 2000
_MANY = 20
_SPAN_MS = 600_000
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Largest flood of the last day.

    Attributes:
        count: number of addresses within ten minutes.
        at: the start of these ten minutes.
        by: the process or operator that suppressed them.
        age: the time since then, in the form of the command line.
    """

    count: int
    at: datetime
    by: str
    age: str


async def find_flood(redis: Redis) -> Flood | None:
    """Return the largest flood of the last day, or None if few addresses were suppressed at any time.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    lines = await redis.lrange(MAIL_SUPPRESSION_LOG, -_LINES, -1)  # type: ignore[misc]  # typed for both clients
    return greatest_flood([orjson.loads(line) for line in lines], now=datetime.now(UTC))


def greatest_flood(entries: Iterable[Mapping[str, Any]], *, now: datetime) -> Flood | None:
    """Find the largest flood in the log's entries; addresses that were removed again do not count."""
    standing: dict[str, tuple[int, str]] = {}
    for entry in entries:
        digest = str(entry.get("digest"))
        if entry.get("action") == "remove":
            standing.pop(digest, None)
        elif str(entry.get("reason")).startswith(("hard_bounce ", "soft_bounce ")):
            standing[digest] = int(entry["at_ms"]), str(entry.get("by"))
    now_ms = round(now.timestamp() * 1000)
    spans = Counter((at_ms // _SPAN_MS, by) for at_ms, by in standing.values() if at_ms > now_ms - _DAY_MS)
    if not spans:
        return None
    ((span, by), count) = spans.most_common(1)[0]
    began = datetime.fromtimestamp(span * _SPAN_MS / 1000, UTC)
    age = f"{-(-round((now - began) / timedelta(milliseconds=1)) // _HOUR_MS)}h"
    return Flood(count=count, at=began, by=by, age=age) if count >= _MANY else None
