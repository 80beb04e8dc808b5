"""Stored reports as the refresh sees them: what is there, and the one atomic write."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from redis.asyncio import Redis

from jobs.reports import Report
from jobs.reports.keys import snapshot
from producers.keys import catalogue
from worker.reports.document import Document, microseconds, milliseconds

_PUBLISH = (Path(__file__).parent / "scripts" / "publish.lua").read_text(encoding="utf-8")
_HEAD = b"head:"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored now: its generation, and the ETag of every scope."""

    generation: int
    etags: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between the stored set and a new one."""

    changed: list[int]
    gone: list[int]


def difference(stored: Stored, documents: Mapping[int, Document]) -> Change:
    """Which scopes to write and which to take away."""
    changed = [scope for scope, document in documents.items() if stored.etags.get(scope) != document.etag]
    return Change(changed, sorted(stored.etags.keys() - documents.keys()))


class ReportStore:
    """The sets of one tenant.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
    """

    def __init__(self, redis: Redis, *, tenant: str) -> None:
        self._redis = redis
        self._tenant = tenant
        self._publish = redis.register_script(_PUBLISH)

    async def declare(self, reports: Mapping[str, Report]) -> None:
        """Tell producers and readers which reports there are."""
        entries = {
            name: orjson.dumps({"title": report.title, "debounce_ms": milliseconds(report.debounce)})
            for name, report in reports.items()
        }
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(catalogue(self._tenant))
            pipe.hset(catalogue(self._tenant), mapping=entries)
            await pipe.execute()

    async def stored(self, report: str) -> Stored:
        """What is stored of a report."""
        key = snapshot(self._tenant, report)
        names = set(await self._redis.hkeys(key))  # type: ignore[misc]
        fields = [name for name in names if name.startswith(_HEAD) and name[len(_HEAD) :] in names]
        generation, *heads = await self._redis.hmget(key, [b"_gen", *fields])  # type: ignore[misc]
        etags = {
            int(name[len(_HEAD) :]): str(orjson.loads(head)["etag"])
            for name, head in zip(fields, heads, strict=True)
            if head
        }
        return Stored(int(generation or 0), etags)

    async def publish(
        self,
        report: str,
        stored: Stored,
        documents: Mapping[int, Document],
        change: Change,
        *,
        as_of: datetime,
        meta: Mapping[str, object],
    ) -> str:
        """Store the new set; says ``stored``, ``superseded`` or ``moved``."""
        arguments: list[str | bytes | int] = [microseconds(as_of), stored.generation, orjson.dumps(meta)]
        arguments.append(len(change.changed))
        for scope in change.changed:
            arguments += [scope, documents[scope].body, documents[scope].head]
        arguments += change.gone
        reply = await self._publish(keys=[snapshot(self._tenant, report)], args=arguments)
        return str(reply[0].decode())

    async def record_failure(self, report: str, *, at: datetime, error: str) -> None:
        """Leave word of a failed refresh beside the last good set."""
        entry = orjson.dumps({"at_us": microseconds(at), "error": error})
        await self._redis.hset(snapshot(self._tenant, report), "_error", entry)  # type: ignore[arg-type, misc]
