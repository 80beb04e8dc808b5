"""Clocks that are wrong, and can be set while everything runs: the database's, a reader's, and Redis's.

database   functions of the same names are found before those of ``pg_catalog``, so the product's own SQL runs
           unchanged; how far it is ahead is kept in an unlogged sequence: setting it is no writing transaction
reader     the process is started with `time.time` moved by what a file says at each call
Redis      a proxy moves what the server answers to TIME; scripts and lives of keys go on by the server's own
"""

import re
from pathlib import Path
from typing import Any

from tests.faulty_proxy import Direction, FaultyProxy, Passage

_INSTALL = """
CREATE SCHEMA clock;
CREATE UNLOGGED SEQUENCE clock.ahead_ms MINVALUE -1000000000000 START 0;
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.now() + last_value * interval '1 millisecond' FROM clock.ahead_ms
$$;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.clock_timestamp() + last_value * interval '1 millisecond' FROM clock.ahead_ms
$$;
GRANT USAGE ON SCHEMA clock TO public;
GRANT SELECT ON clock.ahead_ms TO public;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = clock, pg_catalog, public', current_database());
END $$;
"""
_MOVED = """
import runpy, sys, time
module, path = sys.argv[1:3]
sys.argv[1:] = sys.argv[3:]
real = time.time_ns
def moved():
    with open(path) as file:
        return real() + int(float(file.read() or 0) * 1e9)
time.time_ns, time.time = moved, lambda: moved() / 1e9
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
_TIME = re.compile(rb"\*2\r\n\$10\r\n(\d{10})\r\n(?=\$[1-6]\r\n\d{1,6}\r\n)")
"""The answer to TIME; no other that a test gets has its form."""


async def move_database(connection: Any, seconds: float) -> None:
    """Put the database's clock ahead by so much, for all connections that are made from the first call on."""
    if not await connection.fetchval("SELECT to_regnamespace('clock')"):
        await connection.execute(_INSTALL)
    await connection.execute("SELECT setval('clock.ahead_ms', $1)", round(seconds * 1000))


def moved(module: str, ahead: Path) -> tuple[str, ...]:
    """Arguments for Python: run a module whose clock is ahead by as many seconds as the file says."""
    return ("-c", _MOVED, module, str(ahead))


class RedisClock(FaultyProxy):
    """A way to Redis on which its clock is ahead by so many seconds."""

    ahead = 0

    async def _carry(self, passage: Passage, direction: Direction, chunk: bytes, writer: Any) -> None:
        if direction == "to_client" and self.ahead:
            chunk = _TIME.sub(lambda said: b"*2\r\n$10\r\n%d\r\n" % (int(said[1]) + self.ahead), chunk)
        await super()._carry(passage, direction, chunk, writer)
