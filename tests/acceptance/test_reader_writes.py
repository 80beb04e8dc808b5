"""Whoever wrote sees their write, or at once that it changes nothing: `If-Write-Visible` with a real prober."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from reader import report
from reader.connection import Connection
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from tests.boards import Shop, shop
from worker.reports.refresh import refresh_board

LONG = timedelta(seconds=10)
"""For a reply on a busy machine."""

WANTED = "momentus:{reports}:wanted:default:sales"
Ask = Callable[[int | str], Awaitable[Response]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a look that the test itself begins."""
    monkeypatch.setattr(report, "WRITE_PATIENCE_S", 0.05)


@asynccontextmanager
async def reader_of(url: str) -> AsyncIterator[Ask]:
    connection = Connection(url, deadline=LONG)
    store = StoredReports(connection, tenant="default")
    reader = Reader(store, ReportResponder(store, None))

    async def ask(written: int | str) -> Response:
        fields = HeaderList([("if-write-visible", str(written))])
        return await reader.response(Request("GET", "/v1/reports/sales/1", fields=fields))

    try:
        yield ask
    finally:
        await connection.close()


async def elsewhere(it: Shop) -> int:
    """Write where no report reads; the transaction's number."""
    async with it.database.transaction():
        await it.database.execute("CREATE TABLE IF NOT EXISTS shop.notes (note text)")
        await it.database.execute("INSERT INTO shop.notes VALUES ('x')")
        return int(await it.database.fetchval("SELECT pg_current_xact_id()::text::bigint"))


@pytest.mark.usefixtures("impatient")
async def test_a_write_that_changes_no_report_is_seen_at_the_next_look_and_costs_no_refresh(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it, reader_of(valkey_url) as ask:
        await it.install()
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        await it.prober.probe_once()
        computed = await it.meta()
        written = await elsewhere(it)
        assert (await ask(written)).status == 503, "nobody has looked since"
        assert await it.redis.exists(WANTED), "it has been asked for"
        look = await it.prober.probe_once()
        assert not look.asked
        assert (await ask(written)).status == 200
        assert (await it.meta())["gen"] == computed["gen"]
        assert (await it.meta())["snapshot"] == computed["snapshot"], "what the pace compares stays"


async def test_who_waits_sees_the_look_that_comes(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it, reader_of(valkey_url) as ask:
        await it.install()
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        await it.prober.probe_once()
        probing = asyncio.create_task(it.prober.run())
        try:
            answers = [await ask(await elsewhere(it)) for _ in range(3)]
        finally:
            probing.cancel()
            with suppress(asyncio.CancelledError):
                await probing
        assert [one.status for one in answers] == [200, 200, 200]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("watched", [True, False])
async def test_a_write_that_does_change_it_is_never_called_seen_before_it_is_in(
    database: str,
    valkey_url: str,
    watched: bool,  # noqa: FBT001  a case
) -> None:
    async with shop(database, valkey_url) as it, reader_of(valkey_url) as ask:
        if watched:
            await it.install()
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        for amount in (7, 11):
            unrelated = await elsewhere(it)
            written = await it.order(amount)
            await it.prober.probe_once()
            assert (await ask(written)).status == 503
            assert (await ask(unrelated)).status == 503, "the two were seen at once, and one of them is not in"
            await refresh_board(it.refresher, it.refresher.boards["shop"])
            assert (await ask(written)).status == 200
            assert (await ask(unrelated)).status == 200
        assert await it.total() == 23


@pytest.mark.usefixtures("impatient")
async def test_a_write_that_is_not_committed_is_not_seen(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it, reader_of(valkey_url) as ask:
        await it.install()
        await it.order(5)
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        async with shop(database, valkey_url) as other, other.database.transaction():
            written = int(await other.database.fetchval("SELECT pg_current_xact_id()::text::bigint"))
            await elsewhere(it)
            await it.prober.probe_once()
            assert (await ask(written)).status == 503
        await it.prober.probe_once()
        assert (await ask(written)).status == 200


@pytest.mark.parametrize("said", ["undefined", "null", "-1", '"748"', "748, 749", "0x2ec", "9" * 21])
async def test_what_is_no_transaction_is_refused_and_not_taken_for_a_read_without_condition(
    database: str, valkey_url: str, said: str
) -> None:
    async with shop(database, valkey_url) as it, reader_of(valkey_url) as ask:
        await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert (await ask("")).status == 200
        answer = await ask(said)
        assert answer.status == 400
        assert b"If-Write-Visible: not a transaction id" in answer.body
