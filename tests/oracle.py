"""The `management` report computed the slow, obvious way: what every stored document must agree with.

It shares nothing with the product. It imports none of it, reads the data files itself, asks no database, and
follows the definition node by node: collect the ids of the subtree, gather their rows, count. Whatever is
clever elsewhere (set-based SQL, roll-ups, deltas) has to arrive at these numbers.

Definition, at the instant `now`, in the organisation's zone, over a node and its whole subtree (`total`) and
over the node's own rows (`own`):

    employees          home in the subtree, joined_at <= now, not left by now
    checkins_today     check-ins on a node of the subtree on the local calendar day of `now`, none after `now`
    people_today       distinct employees among those check-ins
    active_blockers    opened_at <= now, not closed by now
    oldest_blocker_at  the earliest opened_at among them, or None
    oldest_blocker_id  its id; of several at one instant, the lowest
    open_tasks         created_at <= now, not closed by now
    overdue_tasks      those of them with due_at < now

"Not closed (left) by now" is: the field is None or > now. A tree with a cycle is refused with `ValueError`.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

Record: TypeAlias = dict[str, Any]
Tables: TypeAlias = Mapping[str, list[Record]]
Measures: TypeAlias = dict[str, Any]

TABLES = ("nodes", "employees", "tasks", "checkins", "blockers")
COUNTED = ("employees", "checkins", "blockers", "tasks")


def management(tables: Tables, *, now: datetime, zone: str) -> dict[int, dict[str, Measures]]:
    """`{node_id: {"total": measures, "own": measures}}` for every node; instants are aware datetimes.

    `tables` maps each name of `TABLES` to its rows as dicts keyed by column name, see `named` and `read_csv`.
    `now` is aware, `zone` an IANA name such as "America/Bogota".
    """
    subtrees = subtrees_of(tables["nodes"])
    present = _present(tables, now, ZoneInfo(zone))
    return {
        node_id: {
            "total": _measures(present, subtree, now),
            "own": _measures(present, {node_id}, now),
        }
        for node_id, subtree in subtrees.items()
    }


def named(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> list[Record]:
    """Rows of plain tuples as dicts: `named(("id", "name"), [(1, "A")]) == [{"id": 1, "name": "A"}]`."""
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in rows]


def read_csv(folder: Path) -> dict[str, list[Record]]:
    """The tables of a folder of `<name>.csv.gz`; empty is None, ids are int, times are aware datetimes."""
    return {name: _read_table(folder / f"{name}.csv.gz") for name in TABLES}


def subtrees_of(nodes: Iterable[Record]) -> dict[int, set[int]]:
    """Every node's id with the ids of itself and everything below it, by climbing up from each node."""
    parent_of = {node["id"]: node["parent_id"] for node in nodes}
    subtrees: dict[int, set[int]] = {node_id: set() for node_id in parent_of}
    for node_id in parent_of:
        climbed: set[int] = set()
        above: int | None = node_id
        while above is not None:
            if above in climbed:
                raise ValueError(f"node {above} is its own ancestor")
            climbed.add(above)
            subtrees[above].add(node_id)
            above = parent_of[above]
    return subtrees


def _present(tables: Tables, now: datetime, zone: ZoneInfo) -> dict[str, dict[int, list[Record]]]:
    """The rows that count at `now`, per table and per node: a look-up, so that each node need not see all."""
    today = _day(now, zone)
    counts: dict[str, Callable[[Record], bool]] = {
        "employees": lambda row: row["joined_at"] <= now and _not_by(row["left_at"], now),
        "checkins": lambda row: row["at"] <= now and _day(row["at"], zone) == today,
        "blockers": lambda row: row["opened_at"] <= now and _not_by(row["closed_at"], now),
        "tasks": lambda row: row["created_at"] <= now and _not_by(row["closed_at"], now),
    }
    present: dict[str, dict[int, list[Record]]] = {name: defaultdict(list) for name in COUNTED}
    for name, is_counted in counts.items():
        for row in tables[name]:
            if is_counted(row):
                present[name][row["node_id"]].append(row)
    return present


def _not_by(end: datetime | None, now: datetime) -> bool:
    return end is None or end > now


def _day(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def _measures(present: Mapping[str, Mapping[int, list[Record]]], nodes: set[int], now: datetime) -> Measures:
    rows = {name: [row for node in nodes for row in present[name].get(node, [])] for name in COUNTED}
    oldest_at, oldest_id = None, None
    for blocker in rows["blockers"]:
        key = (blocker["opened_at"], blocker["id"])
        if oldest_at is None or key < (oldest_at, oldest_id):
            oldest_at, oldest_id = key
    return {
        "employees": len(rows["employees"]),
        "checkins_today": len(rows["checkins"]),
        "people_today": len({checkin["employee_id"] for checkin in rows["checkins"]}),
        "active_blockers": len(rows["blockers"]),
        "oldest_blocker_at": oldest_at,
        "oldest_blocker_id": oldest_id,
        "open_tasks": len(rows["tasks"]),
        "overdue_tasks": sum(1 for task in rows["tasks"] if task["due_at"] is not None and task["due_at"] < now),
    }


def _read_table(file: Path) -> list[Record]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        return [{name: _value(name, field) for name, field in row.items()} for row in csv.DictReader(text)]


def _value(name: str, field: str) -> object:
    if field == "":
        return None
    if name == "id" or name.endswith("_id"):
        return int(field)
    if name == "at" or name.endswith("_at"):
        return datetime.fromisoformat(field)
    return field
