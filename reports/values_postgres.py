"""Values from the server: the driver's codecs, the types of a query's columns, and values without a JSON form.

The driver cannot read every value that the server can send: it returns one date for 9999-12-31 and for infinity,
returns a ``float4`` with more digits than it has, and raises plain Python errors for years before 1 and after
9999, for 24:00 and for texts that are not UTF-8. ``read_exactly`` corrects the first two. For the others
``unreadable_value`` finds the column, the node and the value, by querying the values as text.

A value without a form fails its report; nothing is guessed.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from reports import Report
from reports.columns import JSON, never_shown
from reports.measures import InvalidRows
from reports.rollups import columns_of
from reports.tree_rows import PARENTS
from reports.triggers import quote_identifier
from reports.zones import refused_zone, zone_fault

_DAY_ZERO = dt.date(2000, 1, 1).toordinal()
_LONGEST = 60
"""Largest number of characters of a value that an error shows."""


async def read_exactly(connection: Any) -> None:  # noqa: ANN401  a connection, or a pool's proxy of one
    """Make a connection distinguish infinity from 9999-12-31, and read a float4 as the server writes it."""
    await connection.set_type_codec("date", schema="pg_catalog", encoder=_days, decoder=_date, format="tuple")
    await connection.set_type_codec("float4", schema="pg_catalog", encoder=str, decoder=float, format="text")


def _days(value: dt.date) -> tuple[int]:
    return (value.toordinal() - _DAY_ZERO,)


def _date(days: tuple[int]) -> dt.date:
    """Convert days since 2000. Raises ValueError or OverflowError for infinity and for years outside 1 to 9999."""
    return dt.date.fromordinal(days[0] + _DAY_ZERO)


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns and parameters of a query, in order.

    Attributes:
        names: names of the columns.
        types: Postgres types of the columns, arrays with ``[]``.
        parameters: Postgres types of the parameters.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    parameters: tuple[str, ...]

    def of(self, name: str) -> str:
        """Return the type of a column; empty if the query has no such column."""
        return self.types[self.names.index(name)] if name in self.names else ""


async def describe_query(connection: Any, sql: str) -> Columns:  # noqa: ANN401  a connection
    """Return the columns and parameters of a query without running it. Raises DATABASE_FAULTS."""
    statement = await connection.prepare(sql)
    found = statement.get_attributes()
    return Columns(
        tuple(one.name for one in found),
        tuple(type_name(one.type.name) for one in found),
        tuple(type_name(one.name) for one in statement.get_parameters()),
    )


async def describe_report(connection: Any, report: Report) -> Columns:  # noqa: ANN401  a connection
    """Return the columns and parameters of a report's query.

    Raises:
        InvalidRows: a column under ``[zones]`` is not a timestamp.
        DATABASE_FAULTS: the database refused the query.
    """
    try:
        return await describe_query(connection, report.sql)
    except asyncpg.UndefinedFunctionError as error:
        if refused := refused_zone(str(error), report.zones):
            raise InvalidRows(refused[1], refused[0]) from None
        raise


def type_name(name: str) -> str:
    """Return a type's name with ``[]`` for arrays.

    >>> type_name("_int8"), type_name("int8[]"), type_name("text")
    ('int8[]', 'int8[]', 'text')
    """
    return f"{name[1:]}[]" if name.startswith("_") else name


def check_columns(report: Report, columns: Columns) -> None:
    """Raise if no row of the query could be valid.

    Raises:
        InvalidRows: a column is duplicate or of a type that is never shown, or an instant is compared with a
            timestamp without time zone.
    """
    for name in (report.scope, *columns_of(report.rollup)):
        if columns.names.count(name) > 1:
            raise InvalidRows(f"the query returns two columns named {name!r}; rename one", name)
        how = report.rollup.get(name, "")
        if name in report.zones and (fault := zone_fault(columns.of(name), report.zones[name])):
            raise InvalidRows(fault, name)
        if remedy := never_shown(columns.of(name), how):
            raise InvalidRows(f"{columns.of(name)} cannot be shown; {remedy}", name)
    for name, taken in parameters_taken_wrongly(report.parameters, columns, {"timestamp"}):
        raise InvalidRows(f":{name} is an instant, but the query uses it as a {taken}; {ZONELESS}")


ZONELESS = "write column AT TIME ZONE 'UTC' (or the zone in which it is stored) where it is compared"


def parameters_taken_wrongly(
    names: Sequence[str], columns: Columns, wrong: frozenset[str] | set[str]
) -> Iterator[tuple[str, str]]:
    """Yield the instants among the parameters to which the server gives one of these types."""
    for name, taken in zip(names, columns.parameters, strict=False):
        if name != "zone" and taken in wrong:
            yield name, f"{taken} without time zone" if taken == "timestamp" else taken


async def tree_columns(connection: Any, sql: str) -> Mapping[str, str]:  # noqa: ANN401  a connection
    """Return the types of a tree's columns by name.

    Raises:
        InvalidRows: two columns have the same name, or names or kinds are of a type that is never shown; the
            message says what to write.
        DATABASE_FAULTS: the database refused the query.
    """
    columns = await describe_query(connection, sql)
    for name in ("id", *PARENTS, "name", "kind", "deleted"):
        if columns.names.count(name) > 1:
            raise InvalidRows(f"the tree's query returns two columns named {name!r}; rename one")
    for name in ("name", "kind"):
        of_names = name == "name" and columns.of(name) in JSON  # by language
        if not of_names and (remedy := never_shown(columns.of(name), "sql")):
            raise InvalidRows(f"the tree's {name} is {columns.of(name)}, but must be text; {remedy}")
    return dict(zip(columns.names, columns.types, strict=True))


async def unreadable_value(
    connection: Any,  # noqa: ANN401  a connection
    sql: str,
    arguments: Sequence[object],
    scope: str,
    error: Exception,
) -> InvalidRows:
    """Return an error that names the value that the driver could not read, with its column and node.

    The query runs once more, with every value as text.

    Args:
        scope: column with the node's id; empty: the query has none.
        error: error of the driver.
    """
    try:
        async with connection.transaction():
            statement = await connection.prepare(sql)
            found = {one.name: one.type for one in statement.get_attributes()}
            texts = await _texts(connection, sql, arguments, [scope] if scope in found else [], list(found))
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return InvalidRows(f"the driver cannot read a value ({error})")
    for column, of_type in found.items():
        values: dict[bytes, Any] = {
            row[column]: row[scope] if scope in found else None for row in texts if row[column] is not None
        }
        bad = await _first_bad(connection, of_type, list(values))
        if bad is not None:
            node = f" (node {values[bad].decode()})" if values[bad] else ""
            told = bad.decode(errors="replace")[:_LONGEST]
            return InvalidRows(f"{type_name(of_type.name)} {told!r} cannot be shown in a document{node}", column)
    return InvalidRows(f"the driver cannot read a value ({error})")


async def _texts(
    connection: Any,  # noqa: ANN401  a connection
    sql: str,
    arguments: Sequence[object],
    scope: list[str],
    columns: list[str],
) -> list[Mapping[str, Any]]:
    """Return all rows, each value as the bytes of its text, in any encoding of the database."""
    names = dict.fromkeys([*scope, *columns])
    shown = ", ".join(
        f"convert_to(rows.{quote_identifier(name)}::text, 'SQL_ASCII') AS {quote_identifier(name)}"
        for name in names
    )
    return list(await connection.fetch(f"SELECT {shown} FROM (\n{sql}\n) AS rows", *arguments))  # noqa: S608  quoted


async def _first_bad(connection: Any, of_type: Any, values: list[bytes]) -> bytes | None:  # noqa: ANN401  the driver's
    """Return the first of these texts that the driver cannot read as this type, found by bisection."""
    for value in values:
        if not _is_utf8(value):
            return value
    if not values or await _are_readable(connection, of_type, values):
        return None
    while len(values) > 1:
        half = values[: len(values) // 2]
        values = values[len(half) :] if await _are_readable(connection, of_type, half) else half
    return values[0]


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _are_readable(connection: Any, of_type: Any, values: list[bytes]) -> bool:  # noqa: ANN401  the driver's
    name = type_name(of_type.name)
    item = f"{quote_identifier(of_type.schema)}.{quote_identifier(name.removesuffix('[]'))}"
    cast = f"{item}[]" if name.endswith("[]") else item
    try:
        async with connection.transaction():
            texts = [value.decode() for value in values]
            await connection.fetch(f"SELECT value::{cast} FROM unnest($1::text[]) AS value", texts)  # noqa: S608  quoted
    except asyncpg.PostgresError:  # a type without a cast from text: its values cannot be checked
        return True
    except Exception:  # noqa: BLE001  any error of the driver means unreadable
        return False
    return True
