"""The history of the real organisation replayed: its nodes come, move and go, and the stored reports follow.

Each structural change is one event, and each row of the other tables one more when it begins or ends. The events
are written in order of time, with the database's clock at their instant; after every hundredth a refresh follows,
and all that is stored is compared with the slow computation over the rows that were written. The ordinary run
compares while the first nodes move, the long one from the first event to the last.

The data has people on nodes of the end. A row whose node is not there yet is on the root, and what is on a node
that goes is on the one above it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from reports import load_reports
from tests import oracle
from tests.reports_model.clock import TICK
from tests.reports_model.company import ROOT, Change, Company, Record, Statement
from tests.reports_model.expected import ORACLES, expected
from tests.reports_model.lab import Lab
from worker.reports.refresh import refresh_board

WORLD = Path(__file__).parents[3] / "shared" / "data" / "world"
EVERY = 100
MANY = 1_700
"""Events before the ones that the ordinary run compares."""
ZONE = "America/Lima"


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
    for move in oracle._read_table(WORLD / "node_moves.csv.gz"):
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


@pytest.mark.skipif(not WORLD.is_dir(), reason="the real organisation is not on this machine")
@pytest.mark.parametrize(
    ("unseen", "events"), [(MANY, MANY + 300), pytest.param(0, 10**6, marks=pytest.mark.long)]
)
@pytest.mark.timeout(1_800)
async def test_the_real_organisations_history_is_stored_as_the_slow_computation_says_after_every_hundred_events(
    database: str, valkey_url: str, unseen: int, events: int
) -> None:
    audits = await asyncio.to_thread(replay, database, valkey_url, list(islice(history(), events)), unseen)
    assert audits >= 3


def replay(dsn: str, url: str, events: Sequence[Event], unseen: int) -> int:
    """Write all of it; how often what is stored was compared, after the first so many events."""
    declared = load_reports()
    with Lab(dsn, url, {name: declared[name] for name in ORACLES}) as lab:
        company = Company(events[0].at - TICK)
        lab.do(lab.clear(events[0].at - TICK))
        latest, audits = events[0].at, 0
        for start in range(0, len(events), EVERY):
            batch = events[start : start + EVERY]
            latest = max(latest + TICK, batch[-1].at)
            lab.do(lab.set_clock(latest))
            statements: list[Statement] = []
            for event in batch:
                change = change_of(company, event)
                company.apply(change)
                statements += change.statements
            company.commit(Change(), latest, lab.do(lab.write(statements)))
            if start >= unseen:
                compare(lab, company, latest)
                audits += 1
    return audits


def change_of(company: Company, event: Event) -> Change:
    change = Change()
    former = company.tables[event.table].get(event.row_id)
    if event.row is None:
        assert former is not None
        for table, row in company.rows_on(event.row_id):
            change.update(table, row, node_id=former["parent_id"])
        change.delete(event.table, event.row_id)
        return change
    row = {**event.row}
    if event.table != "nodes" and row["node_id"] not in company.tables["nodes"]:
        row["node_id"] = former["node_id"] if former else ROOT
    if former is None:
        change.insert(event.table, row)
    else:
        change.update(event.table, former, **{name: value for name, value in row.items() if value != former[name]})
    return change


def compare(lab: Lab, company: Company, at: datetime) -> None:
    refresher = lab.workers[0].refresher(ZONE, watched=True)
    for board in refresher.boards.values():
        lab.do(refresh_board(refresher, board))
    stored = lab.stored()
    for report in ORACLES:
        assert stored[report].as_of == at
        assert stored[report].data == expected(report, company.state(company.latest), now=at, zone=ZONE)
