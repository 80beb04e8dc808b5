"""A clock of the database that the machine sets, which all functions read that tell a query what time it is.

Functions of these names in a schema that is searched before ``pg_catalog`` take the place of the real ones, so
that the product's own SQL runs unchanged. Like the real one, ``now()`` stands still within a transaction. The
instant is kept in an unlogged sequence: that can be read in a read-only transaction, and setting it is no writing
transaction, which the product would notice.

A transaction's first query takes its state when it is parsed, a round trip before it runs and asks for the time.
So a worker's connections send the instant with their ``BEGIN``: else one that stood still in between would see a
``now()`` that is later than its state, and the fence would let an old state in.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

_US = timedelta(microseconds=1)
_ERAS = 50
TICK = _ERAS * _US
"""Between two ticks there is room to tell the eras apart."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTALL = """
CREATE SCHEMA clock;
CREATE UNLOGGED SEQUENCE clock.instant;
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('clock.at', true), '') = '' THEN
        PERFORM set_config('clock.at', (SELECT last_value FROM clock.instant)::text, true);
    END IF;
    RETURN timestamptz 'epoch' + current_setting('clock.at')::bigint * interval '1 microsecond';
END
$$;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT timestamptz 'epoch' + last_value * interval '1 microsecond' FROM clock.instant
$$;
CREATE FUNCTION clock.statement_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT clock.clock_timestamp()
$$;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = clock, pg_catalog, public', current_database());
END $$;
"""


async def install_clock(connection: Any) -> None:
    """For all connections that are made from now on."""
    await connection.execute(_INSTALL)


async def set_clock(connection: Any, instant: datetime) -> None:
    await connection.execute("SELECT setval('clock.instant', $1)", to_us(instant))


def timed_connections(instant_us: Callable[[], int]) -> type[Any]:
    """Connections whose transactions have the ``now()`` of their beginning, not of the first question for it."""

    class TimedConnection(asyncpg.Connection):
        async def execute(self, query: str, *arguments: Any, **options: Any) -> str:
            noted = f" SET LOCAL clock.at = '{instant_us()}'" if query.startswith("BEGIN") else ""
            return await super().execute(query + noted, *arguments, **options)

    return TimedConnection


def to_us(instant: datetime) -> int:
    return (instant - _EPOCH) // _US


def from_us(number: int) -> datetime:
    return _EPOCH + number * _US


def era_of(instant: datetime) -> int:
    """How often the clock had been set when it showed this instant: it stands in the last digits."""
    return to_us(instant) % _ERAS


def in_era(instant: datetime, era: int) -> datetime:
    """The instant, as the clock shows it in this era."""
    return from_us(to_us(instant) // _ERAS * _ERAS + era)


def order(instant: datetime) -> tuple[int, datetime]:
    """By which instants of a clock that is set now and then are in the order in which it showed them."""
    return era_of(instant), instant


def next_midnight(instant: datetime, zone: ZoneInfo) -> datetime:
    """The first instant of the next local day, found by looking instead of reckoning."""
    today = instant.astimezone(zone).date()
    at = instant.replace(minute=0, second=0, microsecond=0)
    while at.astimezone(zone).date() <= today:
        at += timedelta(minutes=15)
    return at
