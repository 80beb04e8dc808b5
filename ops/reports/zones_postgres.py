"""Comparison of this machine's and the server's time zones, for the coming years.

``:day_start`` and ``:day_end`` are computed by the worker from Python's zone data; ``AT TIME ZONE :zone`` in a
report's SQL is computed by the server from its own. If a country changes its clocks and only one of the two is
updated, a day starts at two instants in one report. So this module compares their offsets: each day from a year
ago until some years ahead, and on both sides of each change that Python knows.
"""

import asyncio
import importlib.metadata
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from reports import Report
from reports.connection_postgres import connect
from reports.source_postgres import DATABASE_FAULTS

_SECONDS = 10
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_PAST, _AHEAD = timedelta(days=400), timedelta(days=5 * 366)
_ASK = """
SELECT DISTINCT ON (zone) zone, at, offset_here, offset_there, current_setting('server_version') AS version
FROM (
    SELECT asked.zone, asked.at, asked.offset_here,
        CASE WHEN known.name IS NOT NULL THEN
            extract(epoch FROM (to_timestamp(at) AT TIME ZONE zone) - (to_timestamp(at) AT TIME ZONE 'UTC'))::int
        END AS offset_there
    FROM unnest($1::text[], $2::bigint[], $3::int[]) AS asked (zone, at, offset_here)
    LEFT JOIN (SELECT name FROM pg_timezone_names WHERE name = ANY ($4::text[])) AS known
        ON known.name = asked.zone
) AS both_said
WHERE offset_there IS DISTINCT FROM offset_here
ORDER BY zone, at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFault:
    """A time zone with different offsets here and on the server.

    Attributes:
        at: the first instant at which the offsets differ.
        python_offset, server_offset: the offset from UTC then; the server's is None if it does not know the zone.
        python_data, server_data: the source of each one's zone data.
    """

    zone: str
    at: datetime
    python_offset: timedelta
    server_offset: timedelta | None
    python_data: str
    server_data: str

    @property
    def words(self) -> str:
        """The fault as a sentence."""
        if self.server_offset is None:
            return (
                f"the server ({self.server_data}) does not know the time zone {self.zone}; Python "
                f"({self.python_data}) does"
            )
        return (
            f"from {self.at:%Y-%m-%d %H:%M} UTC on, {self.zone} is UTC{_offset(self.python_offset)} for Python "
            f"({self.python_data}) and UTC{_offset(self.server_offset)} for the server ({self.server_data}): "
            "days start at "
            "two instants in one report"
        )


REMEDY = (
    "update the zone data of both: tzdata where the worker runs, and the server's release or its system's tzdata"
)
"""The remedy for a fault."""


def zones_of(reports: Iterable[Report], organisation: str) -> set[str]:
    """Return the time zones that these reports use."""
    return {report.timezone or organisation for report in reports}


async def compare_zones(connection: Any, zones: Iterable[str], now: datetime) -> list[ZoneFault]:  # noqa: ANN401  the driver's
    """Compare these zones in one query.

    Raises:
        DATABASE_FAULTS: the server does not answer.
    """
    names = sorted(set(zones))
    asked = [(name, at, offset) for name in names for at, offset in zone_probes(name, now)]
    columns: list[Sequence[Any]] = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
    rows = await connection.fetch(_ASK, *columns, names)
    return [
        ZoneFault(
            zone=row["zone"],
            at=datetime.fromtimestamp(row["at"], UTC),
            python_offset=timedelta(seconds=row["offset_here"]),
            server_offset=None if row["offset_there"] is None else timedelta(seconds=row["offset_there"]),
            python_data=zone_data_of(row["zone"]),
            server_data=f"PostgreSQL {row['version']}",
        )
        for row in rows
    ]


async def gather_zones(dsn: str, zones: Iterable[str]) -> list[ZoneFault] | None:
    """Connect and compare; None if the database does not answer, which another check reports."""
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(dsn, application="momentus-ops")
            try:
                return await compare_zones(connection, zones, datetime.now(UTC))
            finally:
                await connection.close()
    except (*DATABASE_FAULTS, ValueError):
        return None


def zone_probes(name: str, now: datetime) -> Iterator[tuple[int, int]]:
    """Yield instants (seconds since 1970) with Python's offset from UTC (seconds), in order."""
    zone = ZoneInfo(name)
    at = now.replace(hour=0, minute=0, second=0, microsecond=0) - _PAST
    while at < now + _AHEAD:
        yield _said(at, zone)
        if _said(at, zone)[1] != _said(at + _DAY, zone)[1]:
            change = _change(at, zone)
            yield from (_said(change - _SECOND, zone), _said(change, zone))
        at += _DAY


def _change(day: datetime, zone: ZoneInfo) -> datetime:
    """Return the second within a day at which the offset changes."""
    before, least, most = _said(day, zone)[1], 0, int(_DAY.total_seconds())
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if _said(day + middle * _SECOND, zone)[1] == before else (least, middle)
    return day + most * _SECOND


def _said(at: datetime, zone: ZoneInfo) -> tuple[int, int]:
    offset = at.astimezone(zone).utcoffset() or timedelta(0)
    return int(at.timestamp()), int(offset.total_seconds())


def zone_data_of(zone: str) -> str:
    """Return the source of Python's data for a zone, with its version if known."""
    for folder in map(Path, zoneinfo.TZPATH):
        if (folder / zone).is_file():
            return " ".join(filter(None, [str(folder), _version(folder)]))
    try:
        return f"tzdata {importlib.metadata.version('tzdata')}"
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _version(folder: Path) -> str:
    """Return the release of a folder of zone data, such as 2025b; empty if unknown."""
    try:
        with (folder / "tzdata.zi").open(encoding="utf-8") as file:
            return file.readline().removeprefix("# version ").strip()[:20]
    except OSError:
        return ""


def _offset(offset: timedelta) -> str:
    minutes = offset // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
