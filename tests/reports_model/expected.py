"""What must be stored, computed the slow way: the data part of every node's document at an instant.

Shares nothing with the product, see `tests/oracle.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from tests import oracle

Data: TypeAlias = dict[str, Any]
Oracle: TypeAlias = Callable[[oracle.Tables, datetime, str], dict[int, dict[str, Any]]]


def _management(tables: oracle.Tables, now: datetime, zone: str) -> dict[int, dict[str, Any]]:
    return oracle.management(tables, now=now, zone=zone)


def _by_subtree(
    tables: oracle.Tables, rows: Iterable[oracle.Record], measure: Callable[[list[oracle.Record]], Data]
) -> dict[int, dict[str, Any]]:
    """A measure of the rows of each node, and of those of its subtree."""
    held = list(rows)
    return {
        node_id: {
            "total": measure([row for row in held if row["node_id"] in subtree]),
            "own": measure([row for row in held if row["node_id"] == node_id]),
        }
        for node_id, subtree in oracle.subtrees_of(tables["nodes"]).items()
    }


def _blockers(tables: oracle.Tables, now: datetime, zone: str) -> dict[int, dict[str, Any]]:
    del zone
    active = [row for row in tables["blockers"] if row["opened_at"] <= now and _is_open(row, now)]

    def measure(rows: list[oracle.Record]) -> Data:
        oldest = sorted(rows, key=lambda row: (row["opened_at"], row["id"]))[:10]
        return {
            "active": len(rows),
            "by_kind": dict(Counter(row["kind"] for row in rows)),
            "oldest": [
                {
                    "id": row["id"],
                    "node": row["node_id"],
                    "kind": row["kind"],
                    "employee": row.get("employee_id"),
                    "task": row.get("task_id"),
                    "opened_at": f"{row['opened_at'].astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
                }
                for row in oldest
            ],
        }

    return _by_subtree(tables, active, measure)


def _activity(tables: oracle.Tables, now: datetime, zone: str) -> dict[int, dict[str, Any]]:
    first = _date(now, zone) - timedelta(days=34)
    recent = [row for row in tables["checkins"] if row["at"] <= now and _date(row["at"], zone) >= first]

    def measure(rows: list[oracle.Record]) -> Data:
        return {
            "checkins": len(rows),
            "checkins_by_day": dict(Counter(_date(row["at"], zone).isoformat() for row in rows)),
            "last_at": max((row["at"] for row in rows), default=None),
        }

    return _by_subtree(tables, recent, measure)


def _workload(tables: oracle.Tables, now: datetime, zone: str) -> dict[int, dict[str, Any]]:
    waiting = [row for row in tables["tasks"] if row["created_at"] <= now and _is_open(row, now)]

    def age(row: oracle.Record) -> str:
        days = (_date(now, zone) - _date(row["created_at"], zone)).days
        return next(
            (name for name, limit in (("week", 7), ("month", 30), ("quarter", 90)) if days <= limit), "older"
        )

    def measure(rows: list[oracle.Record]) -> Data:
        overdue = [row for row in rows if row["due_at"] is not None and row["due_at"] < now]
        oldest = min(
            rows, key=lambda row: (row["created_at"], row["id"]), default={"created_at": None, "id": None}
        )
        return {
            "tasks": len(rows),
            "open": dict(Counter(age(row) for row in rows if row["status"] == "open")),
            "in_progress": dict(Counter(age(row) for row in rows if row["status"] != "open")),
            "overdue": len(overdue),
            "unassigned": sum(1 for row in rows if row.get("assignee_id") is None),
            "overdue_share": len(overdue) / len(rows) if rows else None,
            "oldest_at": oldest["created_at"],
            "oldest_id": oldest["id"],
        }

    return _by_subtree(tables, waiting, measure)


def _is_open(row: oracle.Record, now: datetime) -> bool:
    return row["closed_at"] is None or row["closed_at"] > now


def _date(instant: datetime, zone: str) -> date:
    return instant.astimezone(ZoneInfo(zone)).date()


ORACLES: Mapping[str, Oracle] = {
    "management": _management,
    "blockers": _blockers,
    "activity": _activity,
    "workload": _workload,
}


def expected(report: str, tables: oracle.Tables, *, now: datetime, zone: str) -> dict[int, Data]:
    """The data part of each node's document, as JSON shows it."""
    nodes = {node["id"]: node for node in tables["nodes"]}
    measures = ORACLES[report](tables, now, zone)
    return {
        node_id: {
            "node": {
                "id": node_id,
                "name": node["name"],
                "kind": node["kind"],
                "path": path_of(nodes, node_id),
                "children": sorted(other["id"] for other in nodes.values() if other["parent_id"] == node_id),
            },
            "total": plain(measures[node_id]["total"]),
            "own": plain(measures[node_id]["own"]),
        }
        for node_id, node in nodes.items()
    }


def path_of(nodes: Mapping[int, oracle.Record], node_id: int) -> list[int]:
    """From the root to the node."""
    path: list[int] = []
    above: int | None = node_id
    while above is not None:
        path.append(above)
        above = nodes[above]["parent_id"]
    return path[::-1]


def plain(value: Any) -> Any:
    """As JSON has it: instants are texts."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
