"""The statement that inserts rows of the ledger: jobs and what is pending, in one round trip.

It reads and returns nothing, so that the right to insert is enough. A single row is inserted by values, which is
cheaper; many by lists, so that drivers prepare one statement for any number of them. The lists are of texts: types
of other lists asyncpg asks the server for first, once for each connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from .row import COLUMNS, Value, as_text

Style = Literal["numbered", "percent", "colon"]
"""How a driver writes parameters: ``$1``, ``%(id)s``, ``:id``."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text and its parameters by name."""

    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)


def insertion(rows: Sequence[Mapping[str, Value]], style: Style) -> Statement:
    """Return the statement that inserts these rows."""
    if len(rows) == 1:
        return Statement(_single(style), rows[0])
    return Statement(_many(style), {name: [as_text(row[name]) for row in rows] for name in COLUMNS})


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
    columns = ", ".join(map(_of_text, COLUMNS))
    return (
        f"WITH staged AS (SELECT * FROM unnest({lists}) AS staged ({', '.join(COLUMNS)})), "  # noqa: S608  as above
        f"job AS (INSERT INTO momentus_ledger.jobs ({', '.join(COLUMNS)}) SELECT {columns} FROM staged) "
        "INSERT INTO momentus_ledger.pending (id, day) SELECT id, CAST(day AS date) FROM staged"
    )


def _parameter(name: str, style: Style) -> str:
    """Return a column's parameter. It is cast by CAST: ``::`` looks like a parameter of SQLAlchemy."""
    number = [*COLUMNS].index(name) + 1
    return {"numbered": f"${number}", "percent": f"%({name})s", "colon": f":{name}"}[style]


def _of_text(name: str) -> str:
    """Return the expression for a column of which the value is given as text."""
    match COLUMNS[name]:
        case "bytea":
            return f"decode({name}, 'hex')"
        case "text":
            return _parted(name) if name == "recipients" else name
        case kind:
            return f"CAST({name} AS {kind})"


def _parted(recipients: str) -> str:
    return f"string_to_array({recipients}, ',')"
