"""The rows that the machine believes the database to hold, and every committed state there was, by instant.

A change is a function over a draft of the tables that also says which SQL does the same. States are kept, so that
what was stored as of an instant can be compared with what was committed at it.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.reports_model.clock import order

Record = dict[str, Any]
Tables = dict[str, dict[int, Record]]
Statement = tuple[str, tuple[Any, ...]]

NAMES = ("nodes", "employees", "tasks", "checkins", "blockers")
ROOT = 1


@dataclass(slots=True)
class Change:
    """A new state of some rows, and the SQL that brings it about. A row that is None goes."""

    rows: list[tuple[str, int, Record | None]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    def insert(self, table: str, row: Record) -> None:
        columns = ", ".join(row)
        places = ", ".join(f"${number + 1}" for number in range(len(row)))
        self.rows.append((table, row["id"], row))
        self.statements.append(
            (f"INSERT INTO organisation.{table} ({columns}) VALUES ({places})", tuple(row.values()))  # noqa: S608  names are ours
        )

    def update(self, table: str, former: Record, **new: Any) -> None:
        self.rows.append((table, former["id"], {**former, **new}))
        for column, value in new.items():
            sql = f"UPDATE organisation.{table} SET {column} = $1 WHERE id = $2"  # noqa: S608  names are ours
            self.statements.append((sql, (value, former["id"])))

    def delete(self, table: str, row_id: int) -> None:
        self.rows.append((table, row_id, None))
        self.statements.append((f"DELETE FROM organisation.{table} WHERE id = $1", (row_id,)))  # noqa: S608  names are ours


class Company:
    """Committed states by the instant of their commit."""

    def __init__(self, at: datetime) -> None:
        root = {"id": ROOT, "parent_id": None, "name": "Root", "kind": "root"}
        self.tables: Tables = {name: {} for name in NAMES}
        self.tables["nodes"][ROOT] = root
        self._instants = [order(at)]
        self._transactions = [0]
        self._states = [self._frozen()]
        self._made = ROOT

    def new_id(self) -> int:
        self._made += 1
        return self._made

    def apply(self, change: Change) -> None:
        """What belongs to a state that is not committed yet."""
        for table, row_id, row in change.rows:
            if row is None:
                self.tables[table].pop(row_id, None)
            else:
                self.tables[table][row_id] = row

    def commit(self, change: Change, at: datetime, transaction: int) -> None:
        self.apply(change)
        self._instants.append(order(at))
        self._transactions.append(transaction)
        self._states.append(self._frozen())

    @property
    def latest(self) -> int:
        """The place of the state that is committed now."""
        return len(self._states) - 1

    def state(self, place: int) -> dict[str, list[Record]]:
        """The committed state at a place; what is there never changes."""
        return self._states[place]

    def place_at(self, instant: datetime) -> int:
        """Of what was committed at an instant."""
        return bisect_right(self._instants, order(instant)) - 1

    def place_in(self, snapshot: str) -> int:
        """Of what a ``pg_current_snapshot()`` sees: commits come one by one, so it sees the first so many."""
        _, ends, running = snapshot.split(":")
        hidden = {int(one) for one in running.split(",") if one}
        seen = [one < int(ends) and one not in hidden for one in self._transactions]
        assert seen == sorted(seen, reverse=True), "a commit is seen, and one before it is not"
        return seen.count(True) - 1

    def chosen(self, table: str, place: int) -> Record | None:
        """The row at a place, counted from the youngest."""
        ids = sorted(self.tables[table])
        return self.tables[table][ids[-1 - place % len(ids)]] if ids else None

    def node(self, place: int) -> int:
        ids = sorted(self.tables["nodes"])
        return ids[place % len(ids)]

    def below(self, node_id: int) -> set[int]:
        """A node and all below it."""
        found = {node_id}
        while more := {node["id"] for node in self.tables["nodes"].values() if node["parent_id"] in found} - found:
            found |= more
        return found

    def rows_on(self, node_id: int) -> Iterable[tuple[str, Record]]:
        for table in NAMES[1:]:
            for row in list(self.tables[table].values()):
                if row["node_id"] == node_id:
                    yield table, row

    def _frozen(self) -> dict[str, list[Record]]:
        """Rows are replaced, never written to, so that states can share them."""
        return {name: list(rows.values()) for name, rows in self.tables.items()}
