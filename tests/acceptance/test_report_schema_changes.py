"""The application's schema changes while workers run: numbers follow at once, or the error names the place."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from local.supervisor.supervisor import Supervisor
from ops.reports.remedies import remedy_of
from reports.keys import snapshot
from tests.boards import Shop, report, shop
from tests.pooler import PGBOUNCER, disguised, pooler
from tests.report_worker import sales_worker, says, shows
from tests.support import eventually
from worker.reports.refresh import refresh_board


@asynccontextmanager
async def directly(dsn: str) -> AsyncIterator[str]:
    yield dsn


Way = Callable[[str], AbstractAsyncContextManager[str]]
WAYS = [
    pytest.param(directly, id="directly"),
    pytest.param(disguised, id="through a stand-in for a pooler", marks=pytest.mark.long),
    pytest.param(pooler, id="through PgBouncer", marks=pytest.mark.skipif(PGBOUNCER is None, reason="none here")),
]
OTHER_TYPES = {
    "a measure's": "ALTER TABLE shop.orders ALTER amount TYPE bigint",
    "a measure's, with digits": "ALTER TABLE shop.orders ALTER amount TYPE numeric",
    "a name's": "ALTER TABLE shop.nodes ALTER name TYPE varchar(80)",
    "an id's": "ALTER TABLE shop.nodes ALTER id TYPE integer",
}
GONE = {
    "a column is renamed": (
        "ALTER TABLE shop.orders RENAME amount TO net",
        'UndefinedColumnError: column "amount" does not exist',
        "ALTER TABLE shop.orders RENAME net TO amount",
    ),
    "a table is dropped": (
        "ALTER TABLE shop.orders SET SCHEMA public",
        'UndefinedTableError: relation "shop.orders" does not exist',
        "ALTER TABLE public.orders SET SCHEMA shop",
    ),
    "the tree's table is renamed": (
        "ALTER TABLE shop.nodes RENAME TO units",
        'UndefinedTableError: relation "shop.nodes" does not exist',
        "ALTER TABLE shop.units RENAME TO nodes",
    ),
    "a measure becomes text": (
        "ALTER TABLE shop.orders ALTER amount TYPE text",
        "UndefinedFunctionError: function sum(text) does not exist",
        "ALTER TABLE shop.orders ALTER amount TYPE bigint USING amount::bigint",
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_column_that_gets_another_type_is_computed_at_once_and_no_refresh_fails(
    database: str, valkey_url: str, way: Way
) -> None:
    async with way(database) as through, shop(database, valkey_url) as owner, shop(through, valkey_url) as it:
        await owner.database.execute("ALTER TABLE shop.orders ALTER amount TYPE integer")
        await owner.install()
        await owner.order(5)
        await compute(it)
        for change in OTHER_TYPES.values():
            await owner.database.execute(change)
            assert (await it.prober.probe_once()).decisions["shop"].why == "catalogue"
            await compute(it)
            await eventually(it.proved)
        await owner.database.execute("INSERT INTO shop.orders VALUES (DEFAULT, 2, 9007199254740993, now())")
        await compute(it)
        assert await it.total() == 5 + 9007199254740993


@pytest.mark.parametrize("way", WAYS)
async def test_a_column_that_gets_a_type_that_is_never_shown_or_compared_is_refused_by_name(
    database: str, valkey_url: str, way: Way
) -> None:
    """Without an error of the database: a prepared query goes on to compare, by the session's time zone."""
    largest = report(
        "largest",
        sql="SELECT node_id, max(amount) AS amount FROM shop.orders GROUP BY node_id",
        parameters=(),
        rollup={"amount": "max"},
    )
    async with way(database) as through, shop(database, valkey_url, report(), largest) as owner:
        await owner.install()
        await owner.order(5)
        async with shop(through, valkey_url, report(), largest) as it:
            await compute(it)
            await owner.database.execute("ALTER TABLE shop.orders ALTER at TYPE timestamp")
            assert "timestamp" in await failure(it)
            await owner.database.execute("ALTER TABLE shop.orders ALTER amount TYPE money")
            assert (await failure(it, "largest")).startswith("InvalidRows: amount: money cannot be shown")
            assert (await it.total(), await it.total("largest")) == (5, 5)


@pytest.mark.parametrize(
    "gone",
    [
        "a column is renamed",
        "a table is dropped",
        pytest.param("the tree's table is renamed", marks=pytest.mark.long),
        pytest.param("a measure becomes text", marks=pytest.mark.long),
    ],
)
async def test_what_a_report_reads_and_does_not_find_is_named_until_it_is_back_and_the_last_good_set_stays(
    database: str, valkey_url: str, gone: str
) -> None:
    change, error, back = GONE[gone]
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        await compute(it)
        await it.database.execute(change)
        decision = (await it.prober.probe_once()).decisions["shop"]
        assert (decision.proved, decision.why) == ((), "catalogue")
        assert (await failure(it)).startswith(error)
        assert remedy_of(error) != remedy_of("an error without a remedy of its own")
        assert await it.total() == 5
        await it.database.execute(back)
        await it.order(7)
        await it.rest_ends()
        await compute(it)
        assert (await it.total(), await it.field("_error")) == (12, None)


async def test_a_table_that_is_made_anew_is_read_at_once_and_unwatched_until_triggers_are_installed(
    database: str, valkey_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        await compute(it)
        await it.database.execute(
            "DROP TABLE shop.orders; "
            "CREATE TABLE shop.orders (id bigint GENERATED BY DEFAULT AS IDENTITY, note text DEFAULT '', "
            "node_id bigint, amount numeric, at timestamptz); "
            "INSERT INTO shop.orders (node_id, amount, at) VALUES (2, 70, now())"
        )
        await it.prober.probe_once()
        assert "shop.orders has no trigger" in capfd.readouterr().out
        await compute(it)
        assert await it.total() == 70
        await it.order(1)
        assert (await it.prober.probe_once()).decisions["shop"].why == "changed"
        await it.install()
        await compute(it)
        assert await it.total() == 71
        assert await it.proof() == "marks"


async def test_a_column_that_comes_or_goes_and_is_in_no_report_changes_no_document(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await it.install()
        await it.order(5)
        await compute(it)
        before = await it.field("1")
        for change in ("ADD note text NOT NULL DEFAULT 'x'", "DROP note"):
            await it.database.execute(f"ALTER TABLE shop.orders {change}")
            assert (await it.prober.probe_once()).decisions["shop"].why == "catalogue"
            await compute(it)
            assert await it.field("1") == before


@pytest.mark.long
async def test_a_worker_that_runs_follows_every_change_of_the_schema_without_a_restart(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with shop(database, valkey_url) as it:
        await it.database.execute("ALTER TABLE shop.orders ALTER amount TYPE integer")
        await it.install()
        await it.order(5)
        async with Supervisor([sales_worker(valkey_url, database, tmp_path)]):
            await eventually(lambda: shows(it, 5), timeout=30)
            for change, error, back in GONE.values():
                await it.database.execute(change)
                await eventually(partial(says, it, error), timeout=30)
                await it.database.execute(back)
                await eventually(lambda: shows(it, 5), timeout=30)
            for change in OTHER_TYPES.values():
                await it.database.execute(change)
            await it.database.execute("INSERT INTO shop.orders VALUES (DEFAULT, 3, 9007199254740993, now())")
            await eventually(lambda: shows(it, 5 + 9007199254740993), timeout=30)
            await it.database.execute("DROP TABLE shop.orders")
            await eventually(lambda: says(it, 'relation "shop.orders" does not exist'), timeout=30)
            await it.database.execute("CREATE TABLE shop.orders (node_id int, amount numeric, at timestamptz)")
            await it.database.execute("INSERT INTO shop.orders VALUES (3, 0.1, now()), (2, 0.2, now())")
            await eventually(lambda: shows_exactly(it, "0.3"), timeout=30)


async def shows_exactly(it: Shop, amount: str) -> bool:
    """Whether the stored document of the root says so, to the digit."""
    stored = await it.redis.hget(snapshot(it.refresher.tenant, "sales"), "1")
    return f'"total":{{"amount":{amount}}}'.encode() in stored


async def compute(it: Shop) -> None:
    outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
    assert not outcome.failed, outcome.failed


async def failure(it: Shop, name: str = "sales") -> str:
    """A report's error of the next refresh, as it is stored."""
    assert name in (await refresh_board(it.refresher, it.refresher.boards["shop"])).failed
    return str((await it.field("_error", name))["error"])
