"""Closed days: each report as it was when a day ended, kept for as long as its head says.

After midnight, the day that ended is computed once more with ``:now`` at its last instant. Late rows change past
days, so the days inside the report's window are recomputed too, once a day, and stored if they differ. The tree is
that of today, unless the tree's own query depends on the instant.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from reports import Report
from reports.boards import Board
from reports.day import Day, day_around
from reports.document import microseconds, milliseconds
from reports.node_ids import kind_in_meta
from reports.source_postgres import DatabaseSnapshot, log_fields
from reports.store import NewSet
from worker.events import emit, event
from worker.reports.refresh_context import RefreshContext, compute_documents, publish_set

_REPORT_NOT_CLOSED = event("report.not_closed")
_REPORT_CLOSED = event("report.closed")

_INSTANT = timedelta(microseconds=1)
_GRACE = timedelta(days=1)
"""Time after a day's keep in which a worker removes it. Redis 7 frees an expired key while all clients wait, but
one removed by UNLINK in the background. So the time to live is only for when no worker runs."""
_DAYS_LOOKED_BACK = 7


def days_to_close(now: datetime, zone: ZoneInfo, *, window: timedelta, keep: timedelta) -> list[date]:
    """Return the days that a close on this day computes, the latest first.

    >>> from datetime import UTC
    >>> days_to_close(datetime(2026, 3, 2, 9, tzinfo=UTC), ZoneInfo("UTC"), window=timedelta(0), keep=timedelta(9))
    [datetime.date(2026, 3, 1)]
    """
    if keep <= timedelta(0):
        return []
    today = now.astimezone(zone).date()
    back = max(1, min(window, keep) // timedelta(days=1))
    return [today - timedelta(days=number) for number in range(1, back + 1)]


def days_past_keep(now: datetime, zone: ZoneInfo, *, keep: timedelta) -> list[date]:
    """Return the seven latest days that need not be kept any longer.

    >>> from datetime import UTC
    >>> days_past_keep(datetime(2026, 3, 9, 9, tzinfo=UTC), ZoneInfo("UTC"), keep=timedelta(2))[0]
    datetime.date(2026, 3, 6)
    """
    last = (now - keep).astimezone(zone).date() - timedelta(days=1)
    return [last - timedelta(days=number) for number in range(_DAYS_LOOKED_BACK)]


def day_of(date_: date, zone: ZoneInfo) -> Day:
    """Return a calendar day of a zone, found by its noon, which no clock change moves to another day."""
    return day_around(datetime(date_.year, date_.month, date_.day, 12, tzinfo=zone), zone)


async def close_days(refresher: RefreshContext, board: Board, *, now: datetime) -> int:
    """Close the days that are due for a board's reports. Returns the number of stored sets.

    A failure is logged, and retried at the next refresh.

    Args:
        now: instant of today, not after the state that the database shows.
    """
    stored = 0
    for report in board.reports:
        days = days_to_close(now, refresher.zone_of(report), window=report.window, keep=report.keep)
        if not days or await refresher.store.closed_days(report.name, [days[0].isoformat()]):
            continue
        try:
            for day in reversed(days):  # the newest last: while it is missing, the others are due as well
                stored += await _close(refresher, report, day)
            past = days_past_keep(now, refresher.zone_of(report), keep=report.keep)
            await refresher.store.remove_days(report.name, [day.isoformat() for day in past])
        except Exception as error:  # noqa: BLE001  any error of a report's rows is that report's failure
            emit(_REPORT_NOT_CLOSED, report=report.name, **log_fields(error))
    return stored


async def _close(refresher: RefreshContext, report: Report, date_: date) -> int:
    zone = refresher.zone_of(report)
    end = day_of(date_, zone).end
    async with refresher.source.snapshot() as snapshot:
        if snapshot.began < end:  # a lagging standby does not show the end of the day yet
            return 0
        async with snapshot.part():
            documents = await compute_documents(snapshot, report, now=end - _INSTANT, zone=zone)
        meta = _meta(report, snapshot, end, scopes=len(documents)) | kind_in_meta(
            (await snapshot.tree(report)).kind
        )
        new = NewSet(
            report=report.name,
            as_of=snapshot.as_of,
            began=snapshot.began,
            documents=documents,
            meta=meta,
            day=date_.isoformat(),
            keep=end + report.keep + _GRACE - snapshot.as_of,
        )
        facts = await publish_set(refresher.store, new)
    emit(_REPORT_CLOSED, report=report.name, day=date_.isoformat(), changed=facts["changed"])
    return int(facts["state"] == "stored")


def _meta(report: Report, snapshot: DatabaseSnapshot, end: datetime, *, scopes: int) -> dict[str, object]:
    """Return the meta of a set that is true for the end of its day, whenever it was computed."""
    return {
        "report": report.name,
        "board": report.board or report.name,
        "as_of_us": microseconds(end),
        "verified_us": microseconds(end),
        "valid_until_us": None,
        "soft_ms": milliseconds(report.soft),
        "hard_ms": milliseconds(report.hard),
        "cost_ms": round(snapshot.spent * 1000, 1),
        "scopes": scopes,
        "snapshot": snapshot.visible,
        "computed_us": microseconds(snapshot.at),
    }
