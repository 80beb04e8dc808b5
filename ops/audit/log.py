"""Audit log in Redis: an entry before each change of an operator, and one with its outcome.

    begun    written before the change; without it nothing is changed
    ended    the outcome: done, nothing (there was nothing to do), refused, or stopped
             (a change of many jobs, before its end)

Two entries of one number are one change. A change without its second entry was cut off: its outcome is unknown.
The list keeps the latest 10,000 entries. An entry holds ids, names of lanes and accounts, domains and digests, the
operator's name and reason; never a payload, an address or a token.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson
from redis.asyncio import Redis

AUDIT_LOG = "momentus:{ops}:audit"
ENTRIES_KEPT = 10_000
REASON_LIMIT = 200
"""Largest number of characters of a reason."""
Outcome = Literal["begun", "done", "nothing", "refused", "stopped"]

_NOTE = (Path(__file__).parent / "scripts" / "note.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change.

    Attributes:
        number: identifies the change; random.
        way: how the operator was identified.
        target: the job, lane, account, report or user that it was about.
        why: the operator's reason, "" for none.
        text: the outcome in the operator's language; "" until it has ended.
    """

    number: str
    who: str
    way: str
    role: str
    action: str
    target: str
    why: str
    outcome: Outcome = "begun"
    text: str = ""
    at: datetime | None = None


def begin_entry(*, who: str, way: str, role: str, action: str, target: str, why: str) -> AuditEntry:
    """Return a new entry with a number of its own."""
    return AuditEntry(
        number=secrets.token_hex(8), who=who, way=way, role=role, action=action, target=target, why=why
    )


async def note_entry(redis: Redis, entry: AuditEntry, *, kept: int = ENTRIES_KEPT) -> None:
    """Write an entry, and remove the oldest ones beyond ``kept``.

    Raises:
        RedisError, OSError: it may or may not be written.
    """
    fields = {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__ if name != "at"}
    await redis.register_script(_NOTE)(keys=[AUDIT_LOG], args=[kept, orjson.dumps(fields)])


async def list_entries(redis: Redis, *, limit: int) -> list[AuditEntry]:
    """Return the latest changes, the newest first.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    lines = await redis.lrange(AUDIT_LOG, -2 * limit, -1)  # type: ignore[misc]  # typed for both clients
    return join_entries([entry for line in lines if (entry := read_entry(line))])[:limit]


async def find_entry(redis: Redis, number: str) -> AuditEntry | None:
    """Return the change of this number, if it is among the latest. Raises RedisError, OSError."""
    return next((one for one in await list_entries(redis, limit=1000) if one.number == number), None)


def join_entries(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Join the two entries of each change, the newest change first; each has the time at which it began."""
    joined: dict[str, AuditEntry] = {}
    for entry in entries:
        known = joined.get(entry.number)
        joined[entry.number] = entry if known is None else replace(entry, at=known.at)
    return list(joined.values())[::-1]


def read_entry(line: bytes) -> AuditEntry | None:
    """Read an entry; None if it cannot be read."""
    try:
        fields: Mapping[str, object] = orjson.loads(line)
        texts = {name: str(fields.get(name, "")) for name in AuditEntry.__dataclass_fields__ if name != "at"}
        at = datetime.fromtimestamp(int(str(fields["at_ms"])) / 1000, UTC)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return AuditEntry(**texts, at=at)  # type: ignore[arg-type]  # an unknown outcome is shown as it is
