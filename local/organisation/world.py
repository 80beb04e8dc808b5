"""Reader of a real organisation from a folder of gzipped CSV files, one per table.

The files are `<table>.csv.gz`: UTF-8, comma, a header line with exactly the table's columns in order, an
empty field for null, instants in ISO 8601 with an offset. Other files in the folder are left alone.
Everything is read, checked and kept in memory (a few thousand rows a table); the database checks that referred-to
rows exist.

A missing file or a field that is not of its column's kind stops the reading with a `WorldError` that names the
file, the line and the column.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from local.organisation.errors import WorldError
from local.organisation.tables import TABLES, Organisation, OrganisationTable, Row, TableColumn, TableRows


def read_world(folder: Path) -> Organisation:
    """Return the organisation in `folder`, every instant in UTC. Raises `WorldError`.

    >>> read_world(Path("data/world")).counts()  # doctest: +SKIP
    {'nodes': 839, 'employees': 3055, ...}
    """
    return Organisation(**{table.name: TableRows.held(_read(folder, table)) for table in TABLES})


def _read(folder: Path, table: OrganisationTable) -> list[Row]:
    file = folder / f"{table.name}.csv.gz"
    try:
        return list(_rows(file, table))
    except FileNotFoundError:
        raise WorldError(file, "is missing; give the folder that holds all six tables") from None
    except (OSError, EOFError, zlib.error) as error:
        raise WorldError(file, f"cannot be unpacked ({error}); fetch the file again") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise WorldError(file, f"is not UTF-8 comma-separated text ({error})") from error


def _rows(file: Path, table: OrganisationTable) -> Iterator[Row]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        lines = csv.reader(text, strict=True)
        _check_header(file, table, next(lines, []))
        for fields in lines:
            yield _row(file, lines.line_num, table, fields)


def _check_header(file: Path, table: OrganisationTable, header: list[str]) -> None:
    expected = table.column_names
    if tuple(header) == expected:
        return
    missing = next((name for name in expected if name not in header), None)
    raise WorldError(file, f"the header must be {','.join(expected)}", line=1, column=missing)


def _row(file: Path, line: int, table: OrganisationTable, fields: list[str]) -> Row:
    if len(fields) != len(table.columns):
        raise WorldError(file, f"has {len(fields)} fields; {len(table.columns)} are needed", line=line)
    values: list[object] = []
    for column, field in zip(table.columns, fields, strict=True):
        try:
            values.append(_value(column, field))
        except ValueError as error:
            raise WorldError(file, str(error), line=line, column=column.name) from None
    return tuple(values)


def _value(column: TableColumn, field: str) -> object:
    """Return the value of one field. Raises `ValueError` with the column's requirement."""
    if not field:
        if column.nullable:
            return None
        raise ValueError("is empty; this column is never null")
    match column.kind:
        case "id":
            return _identifier(field)
        case "instant":
            return _instant(field)
        case "text":
            return field


def _identifier(field: str) -> int:
    if not (field.isascii() and field.isdigit()) or int(field) == 0:
        raise ValueError("must be a whole number above 0")
    return int(field)


def _instant(field: str) -> datetime:
    try:
        instant = datetime.fromisoformat(field)
    except ValueError:
        raise ValueError("must be an ISO 8601 time such as 2026-03-04T16:30:00Z") from None
    if instant.utcoffset() is None:
        raise ValueError("has no offset; write the time as 2026-03-04T16:30:00Z")
    return instant.astimezone(UTC)
