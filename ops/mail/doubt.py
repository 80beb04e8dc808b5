"""Domains and accounts of which many recipients are refused at once: taken for the server's fault (`doubt.lua`).

While it lasts nobody is suppressed by such a refusal, and the mails wait. Seen in `depth`, `doctor`, `ops mail
suppressed` and `ops mail accounts`, for a day after the last one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from redis.asyncio import Redis

from producers.keys import MAIL_DOUBTS


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalDoubt:
    """One domain's or one account's.

    Attributes:
        kind: ``domain`` or ``account``.
        name: which one.
        since, last: the first and the last refusal of many.
        refused, taken: recipients within ten minutes before the last one.
    """

    kind: str
    name: str
    since: datetime
    last: datetime
    refused: int
    taken: int


async def read_doubts(redis: Redis) -> tuple[RefusalDoubt, ...]:
    """All of the last day, the latest first.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found: Mapping[bytes, bytes] = await redis.hgetall(MAIL_DOUBTS)  # type: ignore[misc]  # typed for both clients
    doubts = [doubt for name, octets in found.items() if (doubt := _read(name, octets)) is not None]
    return tuple(sorted(doubts, key=lambda one: one.last, reverse=True))


def doubt_text(doubt: RefusalDoubt) -> str:
    """A line for people.

    >>> at = datetime(2026, 11, 28, 17, 3, tzinfo=UTC)
    >>> doubt_text(RefusalDoubt(kind="domain", name="example.com", since=at, last=at, refused=40, taken=1))
    'domain example.com: 40 of 41 recipients refused at once, 17:03 to 17:03 UTC: taken for a fault of the server'
    """
    return (
        f"{doubt.kind} {doubt.name}: {doubt.refused} of {doubt.refused + doubt.taken} recipients refused at once, "
        f"{doubt.since:%H:%M} to {doubt.last:%H:%M} UTC: taken for a fault of the server"
    )


def _read(name: bytes, octets: bytes) -> RefusalDoubt | None:
    """One entry; None for one that cannot be read, which hides nothing else."""
    kind, _, rest = name.decode(errors="replace").partition(":")
    try:
        told = orjson.loads(octets)
        since, last = (datetime.fromtimestamp(told[one] / 1000, UTC) for one in ("since_ms", "last_ms"))
        return RefusalDoubt(
            kind=kind, name=rest, since=since, last=last, refused=int(told["refused"]), taken=int(told["taken"])
        )
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
