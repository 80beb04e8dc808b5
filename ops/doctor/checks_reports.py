"""Checks of stored reports: whether each is computed, in time, and without a fault. Pure.

A report that was just declared is not wrong yet: workers compute it within seconds. One that waits for its tables
may do so for an hour, as on a fresh database before the application has made them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from ops.depth.report_freshness import ReportFreshness
from ops.doctor.finding import DoctorFinding, fine, warning, wrong
from ops.durations import duration_text
from ops.reports.remedies import remedy_of

_FIRST = timedelta(seconds=30)
_TABLES = timedelta(hours=1)
_TOLD = 5
_LATELY = timedelta(days=1)
"""Time after which a difference counts as dealt with: since then no audit, or hourly comparison, found another."""


def judge_reports(reports: Sequence[ReportFreshness], *, at: datetime) -> Iterator[DoctorFinding]:
    """Return findings for each report with a fault, and one for the others together.

    Args:
        at: the instant at which they were read.
    """
    found = [finding for one in reports for finding in judge_report(one, at=at)]
    yield from found
    if reports and not found:
        yield fine("reports.right", "reports", count=len(reports))


def judge_report(one: ReportFreshness, *, at: datetime) -> Iterator[DoctorFinding]:
    """Return the faults of one report."""
    where = f"report {one.report}"
    if one.error is not None:
        yield wrong("report.fails", where, error=one.error, remedy=remedy_of(one.error))
    match one.state:
        case "waiting":
            build = wrong if _undone(one) >= _TABLES else warning
            yield build("report.waits", where, tables=", ".join(one.tables))
        case "never" if one.error is None:
            yield (wrong if _undone(one) >= _FIRST else warning)("report.never", where)
        case "refused" if one.error is None:
            yield wrong("report.refused", where)
        case "stale" if one.error is None:
            age, soft = duration_text((one.age_ms or 0) / 1000), duration_text((one.soft_ms or 0) / 1000)
            yield wrong("report.stale", where, age=age, soft=soft)
        case "unreadable":
            yield wrong("report.unreadable", where)
    if one.distrusted is not None and at - one.distrusted < _LATELY:
        yield warning("report.distrusted", where, at=f"{one.distrusted:%Y-%m-%d %H:%M}")
    if one.mismatched is not None and at - one.mismatched < _LATELY:
        yield wrong(
            "report.mismatch",
            where,
            at=f"{one.mismatched:%Y-%m-%d %H:%M}",
            measures=", ".join(one.mismatches[:_TOLD]),
        )


def _undone(one: ReportFreshness) -> timedelta:
    """Return how long a report has waited for its first set; a long time if an earlier build declared it."""
    return timedelta.max if one.undone_ms is None else timedelta(milliseconds=one.undone_ms)
