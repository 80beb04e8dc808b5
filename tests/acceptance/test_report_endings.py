"""A query or a connection that the server ends: the reason is in words, and its report fails like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from reports import source_postgres
from reports.connection_postgres import NoAnswer, connect
from reports.source_postgres import DatabaseSnapshot, Source
from tests.boards import Shop, report, shop
from tests.faulty_proxy import FaultyProxy
from tests.reports_model.interrupt import interrupted
from tests.standby import replay, standby
from tests.support import eventually
from worker.reports.refresh import refresh_board

CONFLICT = """
CREATE FUNCTION shop.give_way() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RAISE serialization_failure USING MESSAGE = 'canceling statement due to conflict with recovery';
END $$
"""
ASLEEP = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"
NONE_OF_IT = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'cancelled')"
SLOW = "SELECT node_id, sum(amount) AS amount, pg_sleep(60) FROM shop.orders WHERE at <= $1 GROUP BY node_id"


async def test_a_query_that_gives_way_to_recovery_fails_its_report_and_no_other(
    database: str, valkey_url: str
) -> None:
    gives_way = report("way", sql="SELECT 1 AS node_id, shop.give_way() AS amount", parameters=())
    async with shop(database, valkey_url, report(), gives_way) as it:
        await it.database.execute(CONFLICT)
        await it.order(5)
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert list(outcome.failed) == ["way"]
        assert outcome.failed["way"].startswith("SerializationError: canceling statement due to conflict")
        assert await it.total() == 5
        assert (await it.field("_error", "way"))["error"] == outcome.failed["way"]


async def test_a_report_whose_table_stays_locked_fails_and_says_so(database: str, valkey_url: str) -> None:
    locks = report("locked", sql="SELECT 1 AS node_id, shop.give_way() AS amount", parameters=())
    async with shop(database, valkey_url, report(), locks) as it:
        await it.database.execute(CONFLICT.replace("serialization_failure", "lock_not_available"))
        outcome = await refresh_board(it.refresher, it.refresher.boards["shop"])
        assert list(outcome.failed) == ["locked"]


async def test_a_connection_that_the_server_ends_is_said_in_words(database: str, valkey_url: str) -> None:
    async with shop(database, valkey_url) as it:

        async def end_between_queries(state: DatabaseSnapshot) -> None:
            pid = (await state.query("SELECT pg_backend_pid()"))[0][0]
            await it.database.execute("SELECT pg_terminate_backend($1)", pid)
            await eventually(lambda: state.lost)

        said = await words_of_the_end(it, end_between_queries)
        assert "ended the connection between two queries, as it does after idle_in_transaction" in said
        said = await words_of_the_end(it, end_within_a_query)
        assert "the database ended the connection: terminating connection" in said


async def test_a_connection_whose_server_has_vanished_is_given_up_and_the_next_refresh_opens_another(
    database: str, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a firewall's restart: nothing comes over the connections there are, and new ones work."""
    monkeypatch.setattr(source_postgres, "_HELLO", 0.2)
    monkeypatch.setattr(source_postgres, "_LONGER", timedelta(seconds=-9.7))  # before the server ends it
    address = urlsplit(database)
    async with FaultyProxy(address.port or 0) as way, shop(database, valkey_url) as it:
        there = address._replace(netloc=f"{address.netloc.rpartition('@')[0]}@127.0.0.1:{way.port}").geturl()
        source = Source(there, statement_timeout=timedelta(seconds=10))
        refresher, board = replace(it.refresher, source=source), it.refresher.boards["shop"]
        assert (await refresh_board(refresher, board)).failed == {}
        way.forget()
        await refresh_board(refresher, board)
        assert (await it.field("_error"))["error"].startswith("NoAnswer: the database did not answer a query")
        await it.rest_ends()
        assert (await refresh_board(refresher, board)).failed == {}
        with pytest.raises(NoAnswer):
            await vanishes_in_a_query(source, way)
        assert (await refresh_board(refresher, board)).failed == {}
        await source.close()


async def vanishes_in_a_query(source: Source, way: FaultyProxy) -> None:
    async with source.snapshot() as state:
        way.forget()
        await state.query("SELECT 1")


async def end_within_a_query(state: DatabaseSnapshot) -> None:
    await state.query("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.long
@pytest.mark.parametrize("computing", [False, True], ids=["its query runs", "it computes between two queries"])
async def test_a_conflict_with_recovery_on_a_real_standby_is_said_in_words(
    valkey_url: str, *, computing: bool
) -> None:
    declared = report() if computing else report(sql=SLOW)
    async with standby() as (primary, second), shop(primary, valkey_url, declared, tenant="first") as it:
        await it.order(5)
        await replay(primary, second)
        async with shop(second, valkey_url, declared) as there:
            await there.database.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
            await there.database.execute("SELECT pg_reload_conf()")

            async def remove_what_is_read(state: DatabaseSnapshot | None = None) -> None:
                if state is not None:
                    await state.query("SELECT count(*) FROM shop.orders")
                for sql in ("DELETE FROM shop.orders", "VACUUM shop.orders"):
                    await it.database.execute(sql)
                if state is not None:
                    await eventually(lambda: state.lost, timeout=30)

            if computing:
                said = await words_of_the_end(there, remove_what_is_read)
                assert "because of a conflict with recovery; its log says which" in said
            else:
                running = asyncio.ensure_future(refresh_board(there.refresher, there.refresher.boards["shop"]))
                await eventually(lambda: there.database.fetchval(ASLEEP))
                await remove_what_is_read()
                assert "due to conflict with recovery" in (await running).failed["sales"]


async def words_of_the_end(it: Shop, end: Callable[[DatabaseSnapshot], Awaitable[None]]) -> str:
    """What is said when the connection of a snapshot is ended, and what is asked afterwards."""
    try:
        async with it.refresher.source.snapshot() as state:
            await end(state)
            await state.query("SELECT 1")
    except asyncpg.InterfaceError as error:
        return str(error)
    raise AssertionError("nothing was raised")


async def test_a_connection_whose_opening_is_cancelled_at_any_point_is_closed(database: str) -> None:
    opened = None
    for at in range(1, 99):
        opening = connect(database, application="cancelled", command_timeout=5)
        work = asyncio.create_task(wrapped(interrupted(opening, at=at, meanwhile=cancel_itself)))
        with suppress(asyncio.CancelledError):
            opened = await work
        if opened is not None:
            break
    assert opened is not None
    assert at > 3
    other = await asyncpg.connect(database)
    await opened.close()
    await eventually(lambda: other.fetchval(NONE_OF_IT))
    await other.close()


async def wrapped(work: Awaitable[asyncpg.Connection[asyncpg.Record]]) -> asyncpg.Connection[asyncpg.Record]:
    return await work


async def cancel_itself() -> None:
    raise asyncio.CancelledError
