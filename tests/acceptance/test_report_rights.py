"""Report SQL reads, for a while, and leaves nothing behind, whatever its user may do elsewhere."""

import asyncpg
import pytest

from reports import Report
from tests.boards import Shop, report, shop
from worker.reports.refresh import refresh_board

ROWS = "SELECT 2::bigint AS node_id, 1::bigint AS amount"
ACTS = {
    "a row is written": "shop.act('INSERT INTO shop.orders (node_id, amount) VALUES (2, 70)')",
    "marks are removed": "shop.act('DELETE FROM momentus.dirty')",
    "a row is locked": "shop.act('SELECT FROM shop.nodes FOR UPDATE')",
    "a table is made": "shop.act('CREATE TABLE shop.made ()')",
    "a sequence goes on": "nextval('shop.orders_id_seq')",
    "the transaction is to write again": "set_config('transaction_read_only', 'off', true)",
    "the transaction is to write again, by a statement": "shop.act('SET TRANSACTION READ WRITE')",
}
LEFT = {
    "a table is locked": "shop.act('LOCK TABLE shop.orders IN SHARE ROW EXCLUSIVE MODE')",
    "a large object": "lo_from_bytea(0, 'x')",
    "a temporary table": "shop.act('CREATE TEMPORARY TABLE made ()')",
    "a setting of the session": "set_config('statement_timeout', '0', false)",
    "a lock for as long as the session lasts": "pg_advisory_lock(42)",
    "a notification": "pg_notify('momentus', 'x')",
}
ACT = """
CREATE FUNCTION shop.act(what text) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN EXECUTE what; RETURN what; END $$
"""
REMAINS = """
SELECT (SELECT count(*) FROM pg_largeobject_metadata)
    + (SELECT count(*) FROM pg_class WHERE relname = 'made')
    + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


def acting(act: str) -> str:
    """Rows as they should be, beside one that comes of an act."""
    return f"{ROWS} UNION ALL SELECT 3, length(({act})::text) * 0"


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "not watched"])
async def test_report_sql_only_reads_whatever_its_user_may_do(
    database: str,
    valkey_url: str,
    watched: bool,  # noqa: FBT001  a parameter
) -> None:
    declared = [acts(sql, f"act{number}") for number, sql in enumerate(ACTS.values())]
    async with shop(database, valkey_url, *declared, report()) as it:
        await prepare(it, watched=watched)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert set(outcome.reports) == {"sales"}
        for number, act in enumerate(ACTS):
            words = outcome.failed[f"act{number}"]
            assert "read-only transaction" in words or "read-write mode" in words, (act, words)
        assert await it.total() == 5


@pytest.mark.parametrize("database", ["embedded", "machine"], indirect=True)
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "not watched"])
async def test_report_sql_leaves_nothing_behind(
    database: str,
    valkey_url: str,
    watched: bool,  # noqa: FBT001  a parameter
) -> None:
    listener = await asyncpg.connect(database)
    heard: list[object] = []
    await listener.add_listener("momentus", lambda *told: heard.append(told))
    async with shop(database, valkey_url, *(acts(sql, f"act{n}") for n, sql in enumerate(LEFT.values()))) as it:
        await prepare(it, watched=watched)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert await it.database.fetchval(REMAINS) == 0
        async with it.refresher.source.snapshot() as state:
            assert (await state.query("SHOW statement_timeout"))[0][0] == "10s"
    await listener.execute("SELECT 1")
    assert heard == []
    await listener.close()


async def test_a_lock_of_the_session_ends_with_the_report_that_took_it(database: str, valkey_url: str) -> None:
    """Behind a pooler the session is the next client's as soon as the transaction has ended."""
    async with shop(database, valkey_url) as it, it.refresher.source.snapshot() as state:
        async with state.part():
            await state.query("SELECT pg_advisory_lock(42)")
            assert (await state.query(REMAINS))[0][0] == 1
        assert (await state.query(REMAINS))[0][0] == 0


def acts(sql: str, name: str) -> Report:
    return report(name, sql=acting(sql), parameters=())


async def prepare(it: Shop, *, watched: bool) -> None:
    await it.database.execute(ACT)
    await it.install()
    if not watched:
        await it.database.execute("ALTER TABLE shop.nodes DISABLE TRIGGER momentus_default")
    await it.order(5)
