"""The history of the real organisation replayed: its nodes come, move and go, and the stored reports follow.

Each structural change is one event, and each row of the other tables one more when it begins or ends. The events are
written in order of time; after every hundredth a refresh follows, and all that is stored is compared with the slow
computation over the rows that were written. The instants of the history are in the rows; what counts is the present.
The ordinary run takes the events around a few instants, the long one all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from jobs.reports import load_reports
from tests import oracle
from tests.reports_model.company import Change, Company, Record, Tables
from tests.reports_model.expected import ORACLES, expected
from tests.reports_model.lab import Lab
from tests.reports_model.stored import StoredSet, require_whole
from worker.reports.refresh import refresh_board

WORLD = Path(__file__).parents[3] / "shared" / "data" / "world"
EVERY = 100
ZONE = "America/Lima"
MOVES_OF_AN_ORDINARY_RUN = 500


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one row: what it is after it, None for a node that goes."""

    at: datetime
    table: str
    row_id: int
    row: Record | None


def history() -> Iterator[Event]:
    """All of it, in order of time; nodes before what is on them."""
    events = [*_moves(), *_rows()]
    order = {"nodes": 0, "employees": 1, "tasks": 2, "checkins": 3, "blockers": 4}
    return iter(sorted(events, key=lambda event: (event.at, order[event.table])))


def _moves() -> Iterator[Event]:
    for move in oracle.read_table(WORLD / "node_moves.csv.gz"):
        row = {"id": move["node_id"], "parent_id": move["new_parent_id"], "name": move["name"], "kind": "node"}
        yield Event(move["at"], "nodes", move["node_id"], None if move["op"] == "delete" else row)


def _rows() -> Iterator[Event]:
    """Each row when it begins, still open, and once more when it ends."""
    begins = {"employees": "joined_at", "tasks": "created_at", "checkins": "at", "blockers": "opened_at"}
    ends = {"employees": "left_at", "tasks": "closed_at", "blockers": "closed_at"}
    tables = oracle.read_csv(WORLD)
    for table, begin in begins.items():
        for row in tables[table]:
            end = ends.get(table)
            yield Event(row[begin], table, row["id"], {**row, end: None} if end else row)
            if end and row[end] is not None:
                yield Event(row[end], table, row["id"], row)
