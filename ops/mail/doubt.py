"""Doubts: refusals of many recipients of one domain or account at once, counted as a fault of the server.

The rule is in `doubt.lua`. During a doubt no refusal suppresses an address, and the mails wait. `depth`, `doctor`,
`ops mail suppressed` and `ops mail accounts` show it for a day after the last refusal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from redis.asyncio import Redis

from ops.language import Language
from producers.keys import MAIL_DOUBTS

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "domain": "domain",
        "account": "account",
        "doubt": "{kind} {name}: {refused} of {recipients} recipients refused at once, {since} to {last} UTC: "
        "counted as a fault of the server",
    },
    "es": {
        "domain": "dominio",
        "account": "cuenta",
        "doubt": "{kind} {name}: {refused} de {recipients} destinatarios rechazados a la vez, de {since} a {last} "
        "UTC: cuenta como fallo del servidor",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalDoubt:
    """Doubt about one domain or account.

    Attributes:
        kind: ``domain`` or ``account``.
        name: the domain or the account.
        since, last: the first and the last of the refusals.
        refused, taken: recipients refused and accepted within ten minutes before the last one.
    """

    kind: str
    name: str
    since: datetime
    last: datetime
    refused: int
    taken: int


async def read_doubts(redis: Redis) -> tuple[RefusalDoubt, ...]:
    """Read all doubts of the last day, the latest first.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    found: Mapping[bytes, bytes] = await redis.hgetall(MAIL_DOUBTS)  # type: ignore[misc]  # typed for both clients
    doubts = [doubt for name, stored in found.items() if (doubt := _read(name, stored)) is not None]
    return tuple(sorted(doubts, key=lambda one: one.last, reverse=True))


def doubt_text(doubt: RefusalDoubt, language: Language = "en") -> str:
    """Return a doubt as one line.

    >>> at = datetime(2026, 11, 28, 17, 3, tzinfo=UTC)
    >>> doubt_text(RefusalDoubt(kind="domain", name="example.com", since=at, last=at, refused=40, taken=1))
    'domain example.com: 40 of 41 recipients refused at once, 17:03 to 17:03 UTC: counted as a fault of the server'
    """
    words = WORDS[language]
    return words["doubt"].format(
        kind=words.get(doubt.kind, doubt.kind),
        name=doubt.name,
        refused=doubt.refused,
        recipients=doubt.refused + doubt.taken,
        since=f"{doubt.since:%H:%M}",
        last=f"{doubt.last:%H:%M}",
    )


def _read(name: bytes, stored: bytes) -> RefusalDoubt | None:
    """Read one entry; None if it cannot be read, so that it hides no other."""
    kind, _, rest = name.decode(errors="replace").partition(":")
    try:
        fields = orjson.loads(stored)
        since, last = (datetime.fromtimestamp(fields[one] / 1000, UTC) for one in ("since_ms", "last_ms"))
        return RefusalDoubt(
            kind=kind,
            name=rest,
            since=since,
            last=last,
            refused=int(fields["refused"]),
            taken=int(fields["taken"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
