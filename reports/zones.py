"""Time zones of timestamps without one, declared by column, so that none is ever shown without its offset.

    -- [zones]
    -- opened_at = "Europe/Madrid"

The server converts: the report's query becomes ``SELECT opened_at AT TIME ZONE 'Europe/Madrid' ... FROM (query)``,
so that roll-ups, documents, schema and audit see instants. It takes the later of two instants when clocks are set
back, as Postgres does everywhere.
"""

import re
from collections.abc import Collection, Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reports.front_matter import HeadTable

_PLAIN = re.compile(r"[A-Za-z0-9_+/-]+\Z")
_REFUSED = re.compile(r"function (?:pg_catalog\.)?timezone\(unknown, (.+)\) does not exist")


def is_zone(name: str) -> bool:
    """Return True for an IANA time zone.

    >>> is_zone("Europe/Madrid"), is_zone("Madrid"), is_zone("UTC' --")
    (True, False, False)
    """
    try:
        return _PLAIN.match(name) is not None and bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def zone_fault(column: str, zone: str) -> str:
    """Return why a column cannot have a zone, by its type after the conversion; empty if it can.

    >>> zone_fault("timestamptz", "Europe/Madrid")
    ''
    """
    if column != "timestamp":
        return ""
    return f"is a timestamptz or a date, not a timestamp without time zone; remove it from [zones] ({zone})"


def refused_zone(message: str, zones: Collection[str]) -> tuple[str, str] | None:
    """Return the column and its fault if the server refused to convert it; None for other messages.

    The server names the type alone, so the first of several columns is returned.

    >>> refused_zone("function pg_catalog.timezone(unknown, integer) does not exist", ["at"])
    ('at', 'is integer; [zones] is for columns of timestamp without time zone')
    """
    match = _REFUSED.match(message)
    if not zones or match is None:
        return None
    first, *others = zones
    told = f"or {' or '.join(others)} " if others else ""
    return first, f"{told}is {match[1]}; [zones] is for columns of timestamp without time zone"


def read_zones(table: HeadTable) -> Mapping[str, str]:
    """Return the declared zone of each column. Raises ReportError."""
    zones = {column: table.text(column) for column in table.values}
    for column, zone in zones.items():
        if not is_zone(zone):
            raise table.error_at(column, f"{zone!r} must be an IANA time zone, like Europe/Madrid")
    return zones


def with_zones(sql: str, columns: Collection[str], zones: Mapping[str, str]) -> str:
    """Return the query with these columns, those with a zone as instants; lines stay where they are.

    >>> print(with_zones("SELECT id, at FROM t", ["id", "at"], {"at": "UTC"}))
    SELECT "id", "at" AT TIME ZONE 'UTC' AS "at" FROM (SELECT id, at FROM t
    ) AS zoned
    """
    if not zones:
        return sql
    shown = ", ".join(
        f'"{column}" AT TIME ZONE \'{zones[column]}\' AS "{column}"' if column in zones else f'"{column}"'
        for column in dict.fromkeys(columns)
    )
    return f"SELECT {shown} FROM ({sql}\n) AS zoned"  # noqa: S608  names of the declaration, checked above
