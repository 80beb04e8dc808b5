"""Freshness of each stored report, by the reader's rule.

    fresh       younger than its soft limit
    stale       older, served with its age
    refused     past its hard limit, or a minute past the instant that ends its validity: readers get 503
    waiting     never computed, because none of its board's tables exists yet (`reports.waiting`)
    never       declared, but no refresh has succeeded yet
    unreadable  stored in another format: worker and ops have different versions

The age counts from `verified_us`, the last instant at which the data was known to be true, by the database's
clock; the stored set holds that clock's offset from Redis's. If the offset is too large, no report is fresh. One
short read fetches the names and one all reports, without their bodies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson
from redis.asyncio import Redis

from clocks import BOUND, moment
from producers.keys import catalogue
from reports.keys import SINCE, WAITS, audit, snapshot

State = Literal["fresh", "stale", "refused", "waiting", "never", "unreadable"]

FIELDS = ["_meta", "_error", WAITS, SINCE]
"""Fields of a stored report by which :func:`read_report` judges it."""
_GRACE_US = 60_000_000
_MOST = 200
_ERROR_LENGTH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFreshness:
    """Freshness of one report. Unknown values are None.

    Attributes:
        as_of: the database's instant for which the numbers are true.
        age_ms: the time since they were last known to be true.
        clock_offset_ms: the database's clock minus Redis's, when the numbers were last known to be true.
        error, error_at: the first line and the instant of a refresh that failed since then, if one did.
        undone_ms: for a report that was never computed, the time since a worker first declared it.
        tables: those for which it waits.
        distrusted: the instant at which the query for some nodes disagreed with the whole.
        mismatched: the instant at which an audit last found measures that differ from the recomputed ones.
        mismatches: their nodes and names.
    """

    report: str
    state: State
    as_of: datetime | None = None
    age_ms: int | None = None
    soft_ms: int | None = None
    hard_ms: int | None = None
    clock_offset_ms: int | None = None
    error: str | None = None
    error_at: datetime | None = None
    undone_ms: int | None = None
    tables: tuple[str, ...] = ()
    distrusted: datetime | None = None
    mismatched: datetime | None = None
    mismatches: tuple[str, ...] = ()

    @property
    def failing(self) -> bool:
        """True if an operator must act: the last refresh failed, or readers no longer get the report."""
        return self.error is not None or self.state in {"refused", "unreadable"}


async def read_reports(
    redis: Redis, *, tenant: str, now_us: int, bound: timedelta = BOUND
) -> tuple[ReportFreshness, ...]:
    """Read the freshness of every declared report of a tenant, in the order of their names.

    Args:
        now_us: by Redis's clock.
        bound: how far clocks may be apart; beyond it no report is fresh.

    Raises:
        RedisError: Redis did not answer.
    """
    names = sorted(await redis.hkeys(catalogue(tenant)))[:_MOST]  # type: ignore[misc]  # typed for both clients
    reports = [name.decode(errors="replace") for name in names]
    async with redis.pipeline(transaction=False) as pipe:
        for report in reports:
            pipe.hmget(snapshot(tenant, report), FIELDS)
            pipe.hmget(audit(tenant, report), ["last"])
        stored = await pipe.execute()
    return tuple(
        replace(read_report(report, *fields, now_us=now_us, bound=bound), **read_audit(last))
        for report, fields, (last,) in zip(reports, stored[::2], stored[1::2], strict=True)
    )


def read_report(
    name: str,
    meta: bytes | None,
    error: bytes | None,
    waits: bytes | None = None,
    since: bytes | None = None,
    *,
    now_us: int,
    bound: timedelta = BOUND,
) -> ReportFreshness:
    """Compute one report's freshness from its stored fields. Unreadable fields give the state `unreadable`.

    Args:
        meta, error, waits, since: the values of `FIELDS`.
        now_us: by Redis's clock.
        bound: how far clocks may be apart.
    """
    try:
        failure = _failure(error)
        if meta is None:
            return ReportFreshness(report=name, **_undone(waits, since, now_us), **failure)
        return ReportFreshness(report=name, **_times(orjson.loads(meta), now_us, bound), **failure)
    except (ValueError, TypeError, KeyError, OverflowError):
        return ReportFreshness(report=name, state="unreadable")


def freshness_state(*, age_us: int, soft_us: int, hard_us: int, overdue_us: int) -> State:
    """Return the state that readers see.

    `overdue_us` is the time since the report's own validity ended, at most 0 if it has not.
    """
    if age_us > hard_us or overdue_us > _GRACE_US:
        return "refused"
    return "stale" if age_us > soft_us or overdue_us > 0 else "fresh"


def _undone(waits: bytes | None, since: bytes | None, now_us: int) -> dict[str, Any]:
    """Return the fields of a report that was never computed; an earlier build stored no time of declaration."""
    undone_ms = None if since is None else max(0, now_us - int(since)) // 1000
    tables = () if waits is None else tuple(map(str, orjson.loads(waits)))
    return {"state": "waiting" if tables else "never", "undone_ms": undone_ms, "tables": tables}


def _times(meta: Mapping[str, Any], now_us: int, bound: timedelta) -> dict[str, Any]:
    verified_us, offset_us = meta["verified_us"], meta.get("clock_offset_us")
    now_us += offset_us or 0
    bound_us = bound // timedelta(microseconds=1)
    apart = max(abs(offset_us or 0), verified_us - now_us) > bound_us
    age_us = max(0, now_us - verified_us)
    until = meta["valid_until_us"]
    overdue_us = 0 if until is None else now_us - until + 1  # at this instant it is no longer valid
    soft_ms, hard_ms = meta["soft_ms"], meta["hard_ms"]
    state = freshness_state(age_us=age_us, soft_us=soft_ms * 1000, hard_us=hard_ms * 1000, overdue_us=overdue_us)
    distrusted_us = meta.get("distrusted_us")
    return {
        "state": "stale" if apart and state == "fresh" else state,
        "as_of": moment(meta["as_of_us"]),
        "age_ms": age_us // 1000,
        "soft_ms": soft_ms,
        "hard_ms": hard_ms,
        "clock_offset_ms": None if offset_us is None else round(offset_us / 1000),
        "distrusted": None if distrusted_us is None else moment(distrusted_us),
    }


def read_audit(last: bytes | None) -> dict[str, Any]:
    """Return the fields of the latest mismatches that an audit found; none if they cannot be read."""
    try:
        fields = orjson.loads(last or b"{}")
        wrong = tuple(f"{node} {measure}" for node, measure in fields["wrong"])
        return {"mismatched": moment(fields["at_us"]), "mismatches": wrong}
    except (ValueError, TypeError, KeyError, OverflowError):
        return {}


def _failure(error: bytes | None) -> dict[str, Any]:
    if error is None:
        return {}
    fields = orjson.loads(error)
    first, *_ = str(fields["error"]).strip().splitlines() or [""]
    told = first if len(first) <= _ERROR_LENGTH else f"{first[:_ERROR_LENGTH]}..."
    return {"error": told, "error_at": moment(fields["at_us"])}
