"""Shape of an organisation: six tables of plain tuples, the same for every source of rows.

The columns stand here once, in the order of `schema.sql`; the reader of files, the generator and the loader
follow them. Rows are not kept: a table knows how many rows it has and makes them again at each walk, so an
organisation ten times the usual size costs no more memory than its people.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column: an id (positive integer), a text, or an instant (aware datetime)."""

    name: str
    kind: Literal["id", "text", "instant"]
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class OrganisationTable:
    """A table's name and its columns in the order of its rows."""

    name: str
    columns: tuple[TableColumn, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, for example `("employee_id", "node_id", "role")`."""
        return tuple(column.name for column in self.columns)


def _id(name: str, *, nullable: bool = False) -> TableColumn:
    return TableColumn(name, "id", nullable)


def _text(name: str) -> TableColumn:
    return TableColumn(name, "text")


def _instant(name: str, *, nullable: bool = False) -> TableColumn:
    return TableColumn(name, "instant", nullable)


NODES = OrganisationTable("nodes", (_id("id"), _id("parent_id", nullable=True), _text("name"), _text("kind")))
EMPLOYEES = OrganisationTable(
    "employees",
    (
        _id("id"),
        _id("node_id"),
        _text("handle"),
        _text("role"),
        _instant("joined_at"),
        _instant("left_at", nullable=True),
    ),
)
MEMBERSHIPS = OrganisationTable("memberships", (_id("employee_id"), _id("node_id"), _text("role")))
TASKS = OrganisationTable(
    "tasks",
    (
        _id("id"),
        _id("node_id"),
        _id("assignee_id", nullable=True),
        _instant("created_at"),
        _instant("due_at", nullable=True),
        _text("status"),
        _instant("closed_at", nullable=True),
    ),
)
CHECKINS = OrganisationTable(
    "checkins", (_id("id"), _id("employee_id"), _id("node_id"), _instant("at"), _text("kind"))
)
BLOCKERS = OrganisationTable(
    "blockers",
    (
        _id("id"),
        _id("node_id"),
        _id("employee_id", nullable=True),
        _id("task_id", nullable=True),
        _instant("opened_at"),
        _instant("closed_at", nullable=True),
        _text("kind"),
    ),
)

TABLES = (NODES, EMPLOYEES, MEMBERSHIPS, TASKS, CHECKINS, BLOCKERS)
"""Every table, each after the ones it refers to."""


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of a table, counted before they are made and made again at each walk.

    Two walks give equal rows: `make` starts from the same state every time.
    """

    count: int
    make: Callable[[], Iterator[Row]]

    @classmethod
    def held(cls, rows: list[Row]) -> "TableRows":
        """Return rows that are in memory already."""
        return cls(len(rows), lambda: iter(rows))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        return self.make()


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """The rows of the six tables; `checkins`, `tasks` and `blockers` may be long, so walk, do not list."""

    nodes: TableRows
    employees: TableRows
    memberships: TableRows
    tasks: TableRows
    checkins: TableRows
    blockers: TableRows

    def tables(self) -> Iterator[tuple[OrganisationTable, TableRows]]:
        """Yield each table with its rows, referred-to tables first."""
        for table in TABLES:
            yield table, getattr(self, table.name)

    def counts(self) -> dict[str, int]:
        """Return rows per table, without making them; for example `{"nodes": 700, ...}`."""
        return {table.name: len(rows) for table, rows in self.tables()}


def example_address(handle: str) -> str:
    """Return an address for a pseudonymous handle, in the domain reserved for examples (RFC 2606)."""
    return f"{handle}@example.com"
