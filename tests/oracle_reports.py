"""The reports beside `management`, computed the slow, obvious way; see `tests.oracle`, whose rules hold here too.

Over a node and its whole subtree (`total`), and over the node's own rows (`own`), at the instant `now`:

    blockers   opened_at <= now and not closed by now: how many, how many of each kind, and the ten with the
               earliest opened_at, of several at one instant those with the lowest id
    activity   check-ins up to now on today's local date or one of the 34 dates before it: how many, how many on
               each date that has any, and the latest
    workload   tasks with created_at <= now and not closed by now: how many, by state and age in local dates since
               created_at (week: up to 7, month: up to 30, quarter: up to 90, older), how many with due_at < now,
               how many without assignee, the part that is overdue, and the oldest with the lowest id
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle import Measures, Record, Tables, subtrees_of

Answer = dict[int, dict[str, Measures]]


def blockers(tables: Tables, *, now: datetime, zone: str) -> Answer:
    """`zone` plays no part; instants in the answer are aware datetimes."""
    del zone
    standing = [row for row in tables["blockers"] if row["opened_at"] <= now and _lasts(row["closed_at"], now)]
    return _answer(tables, standing, _blockers)


def activity(tables: Tables, *, now: datetime, zone: str) -> Answer:
    """Dates are ISO texts."""
    today = _date(now, zone)
    dates = {today - timedelta(days=back) for back in range(35)}
    seen = [row for row in tables["checkins"] if row["at"] <= now and _date(row["at"], zone) in dates]

    def measures(rows: list[Record]) -> Measures:
        by_day = Counter(_date(row["at"], zone).isoformat() for row in rows)
        return {
            "checkins": len(rows),
            "checkins_by_day": dict(by_day),
            "last_at": max((row["at"] for row in rows), default=None),
        }

    return _answer(tables, seen, measures)


def workload(tables: Tables, *, now: datetime, zone: str) -> Answer:
    """Ages are counted in dates of the zone."""
    waiting = [row for row in tables["tasks"] if row["created_at"] <= now and _lasts(row["closed_at"], now)]
    today = _date(now, zone)

    def measures(rows: list[Record]) -> Measures:
        def ages(status: set[str]) -> dict[str, int]:
            return dict(
                Counter(_age(today, _date(one["created_at"], zone)) for one in rows if one["status"] in status)
            )

        overdue = len([row for row in rows if row["due_at"] is not None and row["due_at"] < now])
        oldest = sorted((row["created_at"], row["id"]) for row in rows)[:1] or [(None, None)]
        return {
            "tasks": len(rows),
            "open": ages({"open"}),
            "in_progress": ages({"in_progress", "done", "cancelled"}),
            "overdue": overdue,
            "unassigned": len([row for row in rows if row["assignee_id"] is None]),
            "overdue_share": overdue / len(rows) if rows else None,
            "oldest_at": oldest[0][0],
            "oldest_id": oldest[0][1],
        }

    return _answer(tables, waiting, measures)


def _answer(tables: Tables, rows: list[Record], measures: Callable[[list[Record]], Measures]) -> Answer:
    on_node: dict[int, list[Record]] = defaultdict(list)
    for row in rows:
        on_node[row["node_id"]].append(row)
    return {
        node: {
            "total": measures([row for one in below for row in on_node.get(one, [])]),
            "own": measures(on_node.get(node, [])),
        }
        for node, below in subtrees_of(tables["nodes"]).items()
    }


def _blockers(rows: list[Record]) -> Measures:
    oldest = sorted(rows, key=lambda row: (row["opened_at"], row["id"]))[:10]
    return {
        "active": len(rows),
        "by_kind": dict(Counter(row["kind"] for row in rows)),
        "oldest": [_blocker(row) for row in oldest],
    }


def _blocker(row: Record) -> dict[str, Any]:
    names = {"id": "id", "node": "node_id", "kind": "kind", "employee": "employee_id", "task": "task_id"}
    return {**{shown: row[column] for shown, column in names.items()}, "opened_at": row["opened_at"]}


def _age(today: date, created: date) -> str:
    days = (today - created).days
    if days <= 7:
        return "week"
    if days <= 30:
        return "month"
    return "quarter" if days <= 90 else "older"


def _lasts(end: datetime | None, now: datetime) -> bool:
    return end is None or end > now


def _date(instant: datetime, zone: str) -> date:
    return instant.astimezone(ZoneInfo(zone)).date()
