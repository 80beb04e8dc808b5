"""Stored reports for operators: freshness and cost of each, from Redis alone.

The next refresh is decided with the database: `ops reports status` has it.
"""

from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

import orjson
from redis.asyncio import Redis

from clocks import BOUND, moment
from ops.depth.report_freshness import ReportFreshness, read_reports
from reports.cost import p95
from reports.keys import snapshot, wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A declared report as it is stored. Unknown values are None.

    Attributes:
        generation: the number of its latest stored set.
        cost_p50_ms, cost_p95_ms: execution time of its latest refreshes' queries, by the database's clock.
        computed: why all nodes were computed, or ``nodes``.
        wanted: True if a reader served it stale.
    """

    freshness: ReportFreshness
    generation: int | None = None
    cost_p50_ms: float | None = None
    cost_p95_ms: float | None = None
    computed: str | None = None
    wanted: bool = False


async def read_stored_reports(redis: Redis, *, tenant: str, bound: timedelta = BOUND) -> list[StoredReport]:
    """Read all declared reports of a tenant, in the order of their names.

    Args:
        bound: how far clocks may be apart; beyond it no report is fresh.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    seconds, microseconds = await redis.time()
    now_us = int(seconds) * 1_000_000 + int(microseconds)
    found = await read_reports(redis, tenant=tenant, now_us=now_us, bound=bound)
    async with redis.pipeline(transaction=False) as pipe:
        for one in found:
            pipe.hmget(snapshot(tenant, one.report), ["_meta", "_costs"])
            pipe.exists(wanted(tenant, one.report))
        stored = await pipe.execute()
    return [
        _report(one, *fields, wanted_by=wanted_by)
        for one, fields, wanted_by in zip(found, stored[::2], stored[1::2], strict=True)
    ]


def _report(fresh: ReportFreshness, meta: bytes | None, costs: bytes | None, *, wanted_by: int) -> StoredReport:
    fields = stored_fields(fresh, meta, costs)
    names = ("generation", "cost_p50_ms", "cost_p95_ms", "computed")
    shown = {name: fields[name] for name in names if name in fields}
    return StoredReport(freshness=fresh, wanted=bool(wanted_by), **shown)


def stored_fields(fresh: ReportFreshness, meta: bytes | None, costs: bytes | None) -> dict[str, Any]:
    """Return the stored set's own fields; only the state if it cannot be read."""
    fields: dict[str, Any] = {
        "state": fresh.state,
        "as_of": fresh.as_of,
        "age_ms": fresh.age_ms,
        "error": fresh.error,
    }
    if meta is None or fresh.state == "unreadable":
        return fields
    stored, spent = orjson.loads(meta), orjson.loads(costs or b"[]")
    distrusted_us = stored.get("distrusted_us")
    return fields | {
        "computed": stored.get("computed"),
        "distrusted": None if distrusted_us is None else moment(distrusted_us),
        "generation": stored.get("gen"),
        "verified": moment(stored["verified_us"]),
        "cost_p50_ms": median(spent) if spent else stored.get("cost_ms"),
        "cost_p95_ms": p95(spent) if spent else stored.get("cost_ms"),
    }
