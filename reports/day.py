"""The local calendar day around an instant: 23, 24 or 25 hours."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Day:
    """A local day: its first instant and the first of the next day, in UTC, and its time zone."""

    start: datetime
    end: datetime
    zone: str = "UTC"


def day_around(instant: datetime, zone: ZoneInfo) -> Day:
    """Return the local day that contains the instant.

    It is computed here and bound to the query, because ``current_date`` uses the database's own time zone.

    Example:
        >>> day_around(datetime(2026, 3, 29, 12, tzinfo=UTC), ZoneInfo("Europe/Madrid")).end.isoformat()
        '2026-03-29T22:00:00+00:00'
    """
    today = instant.astimezone(zone).date()
    return Day(_midnight(today, zone), _midnight(today + timedelta(days=1), zone), zone.key or "UTC")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
