"""A refresh is charged what the database did for it, by the database's own clock."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest

from reports import load_reports
from reports.day import day_around
from reports.execution_time import take_execution_time, with_execution_time
from reports.source_postgres import DatabaseSnapshot, Source
from tests.boards import report, shop

DAY = day_around(datetime(2026, 11, 5, tzinfo=UTC), ZoneInfo("UTC"))
QUERIES = {
    "in an order": "SELECT n FROM generate_series(1, 5) AS n ORDER BY n DESC LIMIT 3",
    "no row": "SELECT 1 AS n, 'x' AS word WHERE false",
    "a row of nothing": "SELECT NULL::int AS n, NULL::text AS word",
    "literals and nulls": "SELECT 'x' AS word, NULL AS nothing, true AS yes",
    "two columns of one name": "SELECT 1 AS n, 2 AS n",
    "a name of ours": "SELECT number, at_end FROM (VALUES (1, true), (2, false)) AS turn (number, at_end)",
    "brackets": "SELECT '{n}' AS word, ARRAY[1, 2] AS n",
    "a comment at the end": "SELECT 1 AS n -- of all",
    "values": "VALUES (1, 'x'), (2, 'y')",
    "a table": "TABLE shop",
    "a query before it": "WITH one AS MATERIALIZED (SELECT 1 AS n) SELECT * FROM one",
    "an end in a string": "SELECT ';' AS word",
    "an end": "SELECT 1 AS n;\n",
    "ends in comments": "-- one; two\nSELECT 1 AS n\n    -- three; four",
}
PARALLEL = ["SELECT kind, count(*) FROM shop GROUP BY kind", "SELECT n FROM shop WHERE n > 9"]
RUNS = "SELECT n, nextval('run') AS run FROM generate_series(1, 3) AS n"
IDLE = """
SELECT extract(epoch FROM state_change - query_start)::float8 FROM pg_stat_activity
WHERE pid = $1 AND state = 'idle in transaction' AND query LIKE '%momentus_seconds%'
    AND clock_timestamp() - state_change > interval '0.2 s'
"""

SET_WHILE_IT_RUNS = """
CREATE SCHEMA clock;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.clock_timestamp() + coalesce(nullif(current_setting('clock.step', true), ''), '0')::interval
$$;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = clock, pg_catalog, public', current_database());
END $$;
"""


@pytest.fixture
async def connection(database: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connected = await asyncpg.connect(database)
    await connected.execute("CREATE TABLE shop AS SELECT n, n % 7 AS kind FROM generate_series(1, 20000) AS n")
    await connected.execute("CREATE SEQUENCE run; ANALYZE shop")
    yield connected
    await connected.close()


@pytest.mark.parametrize("sql", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("database", ["", "machine"], indirect=True, ids=["embedded", "machine"])
async def test_the_time_comes_beside_the_same_rows(
    connection: "asyncpg.Connection[asyncpg.Record]", sql: str
) -> None:
    rows = list(await connection.fetch(with_execution_time(sql)))
    seconds = take_execution_time(rows)
    expected = await connection.fetch(sql)
    assert [list(row.values())[: len(one)] for row, one in zip(rows, expected, strict=True)] == [
        list(one.values()) for one in expected
    ]
    assert (seconds is None) == (sql == QUERIES["an end in a string"])
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("setting", ["enable_material = on", "enable_material = off", "enable_memoize = off"])
async def test_the_query_runs_once(connection: "asyncpg.Connection[asyncpg.Record]", setting: str) -> None:
    await connection.execute(f"SET {setting}")
    assert [row["run"] for row in await connection.fetch(with_execution_time(RUNS))] == [1, 2, 3, None]
    assert await connection.fetchval("SELECT currval('run')") == 3


@pytest.mark.parametrize("sql", PARALLEL)
@pytest.mark.parametrize("database", ["", "machine"], indirect=True, ids=["embedded", "machine"])
async def test_the_query_is_planned_as_if_it_stood_alone(
    connection: "asyncpg.Connection[asyncpg.Record]", sql: str
) -> None:
    """With its parallel workers, and at a cost that makes no JIT worth while that was not before."""
    await connection.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0")
    await connection.execute("SET min_parallel_table_scan_size = 0")
    alone, timed = [await plan_of(connection, one) for one in (sql, with_execution_time(sql))]
    assert "Gather" in str(alone)
    assert "Gather" in str(timed)
    assert timed["Total Cost"] < alone["Total Cost"] + 0.05 * alone["Plan Rows"] + 1


async def plan_of(connection: "asyncpg.Connection[asyncpg.Record]", sql: str) -> dict[str, float]:
    return dict(orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}"))[0]["Plan"])


@pytest.mark.parametrize("name", load_reports())
def test_every_shipped_query_says_its_time(name: str) -> None:
    shipped = load_reports()[name]
    for sql in filter(None, (shipped.sql, shipped.tree, shipped.valid_until)):
        assert with_execution_time(sql) != sql


async def test_a_busy_worker_is_charged_no_more_than_the_database_took(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:
        source = Source(database, statement_timeout=timedelta(seconds=10), connections=1)
        for busy in (False, True):  # the first prepares the query
            async with source.snapshot() as state:
                process = (await state.query("SELECT pg_backend_pid()"))[0][0]
                took: list[float] = []
                task = asyncio.create_task(keep_busy(it.dsn, process, took)) if busy else None
                began = time.perf_counter()
                await state.tree(report())
                seen = time.perf_counter() - began
                if task:
                    await task
        await source.close()
    assert 0 < state.spent <= took[0]
    assert state.spent < seen
    assert seen > 0.2  # which the server was told to be idle for


async def keep_busy(dsn: str, process: int, took: list[float]) -> None:
    """Let the event loop do nothing else until the query is long over; note what the server says it took."""

    async def look() -> None:
        connection = await asyncpg.connect(dsn)
        while (found := await connection.fetchval(IDLE, process)) is None:
            pass
        took.append(found)
        await connection.close()

    thread = threading.Thread(target=asyncio.run, args=(look(),))
    thread.start()
    thread.join()


async def test_every_query_of_a_report_is_charged(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it, it.refresher.source.snapshot() as state:
        charged = [state.spent]
        for read in (read_tree, read_rows, read_until):
            await read(state)
            charged.append(state.spent)
    assert charged == sorted(set(charged))


async def read_tree(state: DatabaseSnapshot) -> None:
    await state.tree(report())


async def read_rows(state: DatabaseSnapshot) -> None:
    await state.rows(report(parameters=(), sql="SELECT 1::bigint AS node_id, 2 AS amount"), now=state.at, day=DAY)


async def read_until(state: DatabaseSnapshot) -> None:
    await state.valid_until(report(valid_until="SELECT now() + interval '1 h'"), now=state.at, day=DAY)


async def test_a_query_that_the_server_cancels_is_charged(database: str, valkey_url: str) -> None:
    slow = report("slow", sql="SELECT 1::bigint AS node_id, pg_sleep(60)::text AS amount", parameters=())
    async with shop(database, valkey_url):
        source = Source(database, statement_timeout=timedelta(milliseconds=300))
        async with source.snapshot() as state:
            with pytest.raises(asyncpg.QueryCanceledError):
                await state.rows(slow, now=state.at, day=DAY)
        await source.close()
    assert state.spent >= 0.3


@pytest.mark.parametrize("step", ["1 hour", "-1 hour"])
async def test_a_clock_that_is_set_while_a_query_runs_is_no_cost(
    database: str, valkey_url: str, step: str
) -> None:
    connected = await asyncpg.connect(database)
    await connected.execute(SET_WHILE_IT_RUNS)
    await connected.close()
    async with shop(database, valkey_url) as it, it.refresher.source.snapshot() as state:
        await state.query("SELECT set_config('clock.step', $1, true)", step)
        began = time.perf_counter()
        await read_rows(state)
        assert 0 <= state.spent <= time.perf_counter() - began
