"""Findings about stored reports: whether each is computed, and why the last refresh of one failed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from clocks import BOUND
from ops.depth.report_freshness import ReportFreshness, read_reports
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.reports.remedies import remedy_of


async def gather_reports(redis: Redis, *, tenant: str, bound: timedelta = BOUND) -> tuple[ReportFreshness, ...]:
    """Read the freshness of all declared reports. Raises RedisError and OSError.

    Args:
        bound: how far clocks may be apart.
    """
    now_us = round(datetime.now(UTC).timestamp() * 1_000_000)
    return await read_reports(redis, tenant=tenant, now_us=now_us, bound=bound)


def judge_reports(reports: Sequence[ReportFreshness], *, expected: bool) -> Iterator[DoctorFinding]:
    """Return a finding for each report with a fault, and one for the others together.

    Args:
        expected: True if a database is configured, so that there should be reports.
    """
    if not reports and expected:
        yield warning("reports.none", "reports")
    for one in reports:
        where = f"report {one.report}"
        if one.error is not None:
            yield wrong("report.fails", where, error=one.error, remedy=remedy_of(one.error))
        elif one.state == "never":
            yield warning("report.never", where)
        elif one.state == "refused":
            yield wrong("report.refused", where)
        elif one.state == "unreadable":
            yield wrong("report.unreadable", where)
    if reports and all(one.error is None and one.state in {"fresh", "stale"} for one in reports):
        yield fine("reports.right", "reports", count=len(reports))
