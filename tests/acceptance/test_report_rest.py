"""Boards at rest, on a real Postgres: the refresh of one is no reason for another's."""

from dataclasses import replace
from datetime import timedelta

from reports.source_postgres import Source
from reports.store import FailureStreak
from tests.boards import report, shop
from worker.reports.refresh import refresh_board

DAY = timedelta(days=1)
TWO = (report(every=DAY), report("stock", board="stock", every=DAY))


async def test_boards_that_are_refreshed_one_after_the_other_rest_until_somebody_else_writes(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url, *TWO) as it:
        await it.install()
        await it.order(5)
        for _ in range(2):
            for board in it.refresher.boards.values():
                await refresh_board(it.refresher, board)
        resting = (await it.prober.probe_once()).decisions
        assert {name: one.why for name, one in resting.items()} == {"shop": "clock", "stock": "clock"}
        await it.database.execute("CREATE TABLE shop.elsewhere (id bigint)")
        woken = (await it.prober.probe_once()).decisions
        assert {name: one.why for name, one in woken.items()} == {"shop": "unverified", "stock": "unverified"}


async def test_a_look_is_one_statement_and_nothing_else(database: str, valkey_url: str) -> None:
    latest = "SELECT query FROM pg_stat_activity WHERE application_name = 'momentus-prober' AND datname = $1"
    async with shop(database, valkey_url) as it:
        await it.install()
        for _ in range(3):
            assert it.refresher.outbox is not None
            await it.refresher.outbox.probe_database()
            queries = [row["query"] for row in await it.database.fetch(latest, database.rpartition("/")[2])]
            assert ["pg_current_snapshot" in query and "momentus.dirty" in query for query in queries] == [True]


async def test_a_database_that_is_back_after_a_while_finds_no_report_resting_for_long(
    database: str, valkey_url: str, unused_tcp_port: int
) -> None:
    away = Source(f"postgresql://127.0.0.1:{unused_tcp_port}/away", statement_timeout=timedelta(seconds=1))
    async with shop(database, valkey_url) as it:
        store, board = it.refresher.store, it.refresher.boards["shop"]
        now = it.refresher.clocks.now()
        await store.record_failure("sales", at=now, error="x", failure=FailureStreak(9, now))
        await refresh_board(replace(it.refresher, source=away, outbox=None), board)
        error = await it.field("_error")
        assert error["times"] == 10
        assert error["again_us"] - error["at_us"] == 10_000_000
    await away.close()
