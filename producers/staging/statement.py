"""The statement that inserts rows of the ledger: jobs and what is pending, in one round trip.

It reads and returns nothing, so that the right to insert is enough. A single row is inserted by values, which is
cheaper; many by lists, so that drivers prepare one statement for any number of them. The lists are of texts, since
asyncpg first queries the server for other types, once per connection. A value that all rows share, as most do, is
alone in its list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from .row import COLUMNS, Value, as_text

Style = Literal["numbered", "percent", "colon"]
"""How a driver writes parameters: ``$1``, ``%(id)s``, ``:id``."""

_LISTED = ("id", "due_at", "expires_at")
"""Columns with a value for each row: the id, by which rows are counted, and what may be NULL."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text and its parameters by name."""

    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)


def insertion(rows: Sequence[Mapping[str, Value]], style: Style) -> Statement:
    """Return the statement that inserts these rows."""
    if len(rows) == 1:
        return Statement(_single(style), rows[0])
    return Statement(_many(style), {name: _column(name, rows) for name in COLUMNS})


def _column(name: str, rows: Sequence[Mapping[str, Value]]) -> list[str | None]:
    values = [row[name] for row in rows]
    is_shared = values.count(values[0]) == len(values) and (values[0] is None or name not in _LISTED)
    return [*map(as_text, values[:1] if is_shared else values)]


@cache
def _single(style: Style) -> str:
    values = {name: f"CAST({_parameter(name, style)} AS {kind})" for name, kind in COLUMNS.items()}
    return (
        f"WITH job AS (INSERT INTO momentus_ledger.jobs ({', '.join(COLUMNS)}) "  # noqa: S608  names of this module
        f"VALUES ({', '.join({**values, 'recipients': _parted(values['recipients'])}.values())})) "
        f"INSERT INTO momentus_ledger.pending (id, day) VALUES ({values['id']}, {values['day']})"
    )


@cache
def _many(style: Style) -> str:
    lists = ", ".join(f"CAST({_parameter(name, style)} AS text[])" for name in COLUMNS)
    columns = ", ".join(_of_text(name) for name in COLUMNS)
    return (
        f"WITH staged AS (SELECT * FROM unnest({lists}) AS staged ({', '.join(COLUMNS)})), "  # noqa: S608  as above
        "first AS (SELECT * FROM staged LIMIT 1), "
        f"job AS (INSERT INTO momentus_ledger.jobs ({', '.join(COLUMNS)}) SELECT {columns} FROM staged, first) "
        f"INSERT INTO momentus_ledger.pending (id, day) SELECT staged.id, {_of_text('day')} FROM staged, first"
    )


def _parameter(name: str, style: Style) -> str:
    """Return a column's parameter. It is cast by CAST: ``::`` looks like a parameter of SQLAlchemy."""
    number = [*COLUMNS].index(name) + 1
    return {"numbered": f"${number}", "percent": f"%({name})s", "colon": f":{name}"}[style]


def _of_text(name: str) -> str:
    """Return the expression for a column whose values are given as text."""
    text = f"staged.{name}" if name in _LISTED else f"coalesce(staged.{name}, first.{name})"
    match COLUMNS[name]:
        case "bytea":
            return f"decode({text}, 'hex')"
        case "text":
            return _parted(text) if name == "recipients" else text
        case kind:
            return f"CAST({text} AS {kind})"


def _parted(recipients: str) -> str:
    return f"string_to_array({recipients}, ',')"
