"""Refreshes while the database's clock is set: the later state is stored, and nothing waits for hours."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from clocks import ClockReading
from reports.keys import snapshot
from reports.store import ReportStore
from tests.boards import Shop, report, shop
from tests.moved_clocks import move_database
from worker.reports.clocks import Clocks
from worker.reports.refresh import refresh_board

HOUR = 3600
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """To the database whose clock can be moved."""
    connection = await asyncpg.connect(database)
    await move_database(connection, 0)
    yield connection
    await connection.close()


async def refresh(it: Shop) -> Any:
    return await refresh_board(it.refresher, it.refresher.boards["shop"])


async def offset_s(it: Shop) -> float:
    return float((await it.meta())["clock_offset_us"]) / 1_000_000


async def test_a_set_says_by_how_much_the_database_s_clock_was_ahead_and_a_proof_renews_it(
    database: str, valkey_url: str, connection: Any
) -> None:
    await move_database(connection, 600)
    async with shop(database, valkey_url) as it:
        await it.install()
        await refresh(it)
        assert abs(await offset_s(it) - 600) < 0.5
        key = snapshot("default", "sales")
        former = orjson.loads(await it.redis.hget(key, "_meta"))
        del former["clock_offset_us"]
        await it.redis.hset(key, "_meta", orjson.dumps(former))  # type: ignore[arg-type]
        await it.prober.probe_once()
        now = await it.meta()
        assert abs(await offset_s(it) - 600) < 0.5, "also of a set that a former build has stored"
        assert now["verified_us"] > former["verified_us"]
        kept = former | {"verified_us": now["verified_us"]}
        assert {name: now[name] for name in former} == kept, "the rest stays"


@pytest.mark.parametrize("proof", ["marks", "snapshot"])
async def test_after_the_clock_was_set_back_the_board_is_refreshed_at_once_and_proved_again(
    database: str, valkey_url: str, connection: Any, proof: str
) -> None:
    async with shop(database, valkey_url, report(every=timedelta(minutes=5))) as it:
        if proof == "marks":
            await it.install()
        await refresh(it)
        before = await it.meta()
        await move_database(connection, -HOUR)
        look = await it.prober.probe_once()
        assert (look.asked, look.decisions["shop"].why) == (("shop",), "clocks")
        assert (await it.meta())["verified_us"] == before["verified_us"], "nothing is proved by another clock"
        await it.order(5, at=LONG_AGO)
        outcome = await refresh(it)
        assert (outcome.failed, outcome.reports["sales"]["state"]) == ({}, "stored")
        assert await it.total() == 5
        after = await it.meta()
        assert after["gen"] == before["gen"] + 1
        assert before["as_of_us"] - after["as_of_us"] > (HOUR - 60) * 1_000_000
        assert after["verified_us"] <= after["as_of_us"]
        await it.prober.probe_once()
        assert (await it.meta())["verified_us"] > after["verified_us"]


class StandsStill(ReportStore):
    """Of a worker that is paused once its transaction has seen the database."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.reached, self.gate = asyncio.Event(), asyncio.Event()

    async def read_clock(self) -> ClockReading:
        said = await super().read_clock()
        self.reached.set()
        await self.gate.wait()
        return said


async def test_a_worker_that_stood_still_while_the_clock_was_set_back_overwrites_no_later_state(
    database: str, valkey_url: str, connection: Any
) -> None:
    """Its transaction began an hour after that of the later state, by the clock."""
    async with shop(database, valkey_url) as old, shop(database, valkey_url) as new:
        await refresh(new)
        store = StandsStill(old.redis, tenant="default")
        board = old.refresher.boards["shop"]
        paused = asyncio.create_task(refresh_board(replace(old.refresher, store=store), board))
        await store.reached.wait()
        await move_database(connection, -HOUR)
        await new.order(9, at=LONG_AGO)
        await refresh(new)
        assert await new.total() == 9
        store.gate.set()
        outcome = await paused
        assert [facts["state"] for facts in outcome.reports.values()] == ["superseded"]
        assert await new.total() == 9


class OfMovedRedis(ReportStore):
    """Of a Redis whose clock is two hours behind what it was."""

    async def read_clock(self) -> ClockReading:
        said = await super().read_clock()
        return replace(said, said_us=said.said_us - 2 * HOUR * 1_000_000)


async def test_after_redis_s_clock_was_set_back_a_board_in_which_nothing_changes_is_refreshed_at_once(
    database: str, valkey_url: str
) -> None:
    async with shop(database, valkey_url) as it:
        await refresh(it)
        before = await it.meta()
        moved = replace(it.refresher, store=OfMovedRedis(it.redis, tenant="default"))
        outcome = await refresh_board(moved, it.refresher.boards["shop"])
        assert (outcome.failed, outcome.reports["sales"]["state"]) == ({}, "stored")
        assert (await it.meta())["gen"] == before["gen"] + 1
        assert abs(await offset_s(it) - 2 * HOUR) < 1


async def test_a_worker_that_stood_still_overwrites_no_later_set_of_the_same_state(
    database: str, valkey_url: str, connection: Any
) -> None:
    """No row changed, so that both see the same; the database's clock was set back meanwhile."""
    async with shop(database, valkey_url) as old, shop(database, valkey_url) as new:
        await refresh(new)
        store = StandsStill(old.redis, tenant="default")
        board = old.refresher.boards["shop"]
        paused = asyncio.create_task(refresh_board(replace(old.refresher, store=store), board))
        await store.reached.wait()
        await move_database(connection, -HOUR)
        await refresh(new)
        later = await new.meta()
        store.gate.set()
        outcome = await paused
        assert [facts["state"] for facts in outcome.reports.values()] == ["superseded"]
        assert await new.meta() == later


@pytest.mark.parametrize("read_at", [0, HOUR])
def test_a_worker_that_stood_still_while_it_read_a_clock_tells_no_age_too_young(read_at: int) -> None:
    """Wherever in that hour the database read its clock, which agrees with Redis's."""
    clocks = Clocks()
    clocks.note_database(ClockReading(read_at * 1_000_000, asked_us=0, heard_us=HOUR * 1_000_000))
    clocks.note_redis(ClockReading(HOUR * 1_000_000, asked_us=HOUR * 1_000_000, heard_us=HOUR * 1_000_000))
    assert clocks.cautious_offset_us is not None
    assert 0 <= clocks.cautious_offset_us <= HOUR * 1_000_000


async def test_what_cannot_be_told_from_a_later_state_waits_for_the_clock_and_says_so(
    database: str, valkey_url: str, connection: Any
) -> None:
    """What is stored is of another server, or of a build that noted no offset."""
    async with shop(database, valkey_url) as it:
        await refresh(it)
        key = snapshot("default", "sales")
        stored = await it.meta()
        await it.redis.hset(key, "_meta", orjson.dumps({**stored, "clock_offset_us": None}))  # type: ignore[arg-type]
        await move_database(connection, -HOUR)
        outcome = await refresh(it)
        assert "ahead of the database's clock" in outcome.failed["sales"]
        error = await it.field("_error")
        assert error["error"].startswith("ClockSetBack: the stored set is 0:59:5")
        assert error["again_us"] - error["at_us"] == 1_000_000, "by the database's clock"


async def test_a_rest_after_a_failure_is_over_when_the_clock_is_set_back(
    database: str, valkey_url: str, connection: Any
) -> None:
    async with shop(database, valkey_url, report(sql="SELECT 1 / 0 AS node_id, 1 AS amount")) as it:
        for _ in range(3):
            await refresh(it)
            await it.redis.hset(snapshot("default", "sales"), "_error", await rested(it))  # type: ignore[arg-type]
        assert (await refresh(it)).resting == ("sales",)
        await move_database(connection, -HOUR)
        assert (await it.prober.probe_once()).decisions["shop"].why == "failed"
        assert (await refresh(it)).failed, "it is tried again"


async def rested(it: Shop) -> bytes:
    """The last failure, as if it had to rest for another five minutes."""
    error = await it.field("_error")
    return orjson.dumps({**error, "again_us": error["at_us"] + 300_000_000})
