"""Boards at rest, on a real Postgres: the refresh of one is no reason for another's."""

from datetime import timedelta

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
        resting = (await it.prober.look()).decisions
        assert {name: one.why for name, one in resting.items()} == {"shop": "clock", "stock": "clock"}
        await it.database.execute("CREATE TABLE shop.elsewhere (id bigint)")
        woken = (await it.prober.look()).decisions
        assert {name: one.why for name, one in woken.items()} == {"shop": "unverified", "stock": "unverified"}


async def test_a_look_is_one_statement_and_nothing_else(database: str, valkey_url: str) -> None:
    latest = "SELECT query FROM pg_stat_activity WHERE application_name = 'momentus-prober' AND datname = $1"
    async with shop(database, valkey_url) as it:
        await it.install()
        for _ in range(3):
            assert it.refresher.outbox is not None
            await it.refresher.outbox.look()
            queries = [row["query"] for row in await it.database.fetch(latest, database.rpartition("/")[2])]
            assert ["pg_current_snapshot" in query and "momentus.dirty" in query for query in queries] == [True]
